"""The command that shows single neurons of a run: what they do, and what every method makes of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keyneurons.activations.reader import ActivationReader
from keyneurons.atomic_files import write_text
from keyneurons.config.paths import output_folder
from keyneurons.config.schema import Config
from keyneurons.pipeline.neuron_profile import DevText, coloured_words, neuron_on_dev
from keyneurons.report.neuron.method_scores import KeptScores, scores_by_method
from keyneurons.report.neuron.page import InspectedNeuron, Inspection, KeyOf, page
from keyneurons.runs.reload import Rebuilt, kept_scores, rebuild

MOST_NEURONS = 10
UNSAFE = re.compile(r"[^\w.-]")


def run_inspect(
    run: str,
    *,
    tag: str | None,
    neuron: str | None,
    overrides: Sequence[str],
    compose: Callable[[Sequence[str]], Config],
    out: Path | None,
) -> tuple[Path, list[str]]:
    """Write the page on a tag's key neurons, or on one neuron.

    Args:
        run: MLflow id of a run, or its folder under ``outputs/``.
        tag: whose key neurons are shown, the strongest ten at most.
        neuron: a neuron as site.layer.number, of a layer that the run read.
        overrides: those of the command line: ``tracking``, ``cache`` and ``model.device``; all else is the run's.
        compose: makes a checked configuration of overrides.
        out: the page; None for a new folder under ``outputs/``.

    Returns:
        Where the page is, and a line for every other run of the store that was left out since it is damaged.

    Raises:
        ValueError: the run, the tag or the neuron is not there, or not both or none of tag and neuron are given.
    """
    if (tag is None) == (neuron is None):
        raise ValueError(
            f"give one of --tag TAG and --neuron SITE.LAYER.NUMBER, got {'none' if tag is None else 'both'}"
        )
    found = rebuild(run, overrides, compose)
    wanted = _named(neuron, found.key, found.read) if neuron is not None else _key_neurons_of(str(tag), found.key)
    kept, damaged = kept_scores(found, sorted({layer for layer, _ in wanted}))
    html = page(_inspect(found, tag, wanted, kept))
    path = out if out is not None else output_folder("inspect") / f"inspect_{UNSAFE.sub('_', str(tag or neuron))}.html"
    write_text(path, html)
    return path, damaged


def _key_neurons_of(tag: str, key: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Layer and number of a tag's strongest neurons.

    Raises:
        ValueError: the run has no such tag, or none for it.
    """
    if tag not in key["tags"]:
        raise ValueError(f"the run has no tag {tag!r}; it has {', '.join(key['tags'])}")
    if not key["tags"][tag]:
        raise ValueError(f"the run has no key neurons of {tag}; look at one with --neuron SITE.LAYER.NUMBER")
    return [(each["layer"], each["neuron"]) for each in key["tags"][tag][:MOST_NEURONS]]


def _named(neuron: str, key: Mapping[str, Any], read: ActivationReader) -> list[tuple[int, int]]:
    """Layer and number of a neuron by its name.

    Raises:
        ValueError: the run read no such neuron.
    """
    width = read.model.width(read.site)
    layers = ", ".join(map(str, key["layers"]))
    legal = f"the run read {key['site']}.LAYER.NUMBER with LAYER {layers} and NUMBER 0..{width - 1}"
    parts = re.fullmatch(r"(\w+)\.([0-9]+)\.([0-9]+)", neuron)
    if parts is None or parts[1] != key["site"]:
        raise ValueError(f"{legal}, got {neuron!r}")
    layer, number = int(parts[2]), int(parts[3])
    if layer not in key["layers"] or number >= width:
        raise ValueError(f"{legal}, got {neuron!r}")
    return [(layer, number)]


def _inspect(
    found: Rebuilt, tag: str | None, wanted: Sequence[tuple[int, int]], kept: Sequence[KeptScores]
) -> Inspection:
    """Everything on the page."""
    read, text = found.read, DevText.of(found.treebank, found.labels)
    layers = tuple(sorted({layer for layer, _ in wanted}))
    activations = replace(read, layers=layers)(text.sentences, "dev")
    scores = scores_by_method(kept, read.site, wanted)
    store = found.run.store
    neurons = tuple(
        InspectedNeuron(
            neuron_on_dev(text, activations[layer], layer, number, found.seed),
            _key_of(found.key, layer, number),
            scores[layer, number],
        )
        for layer, number in wanted
    )
    return Inspection(
        run=found.run.name,
        facts=_facts(found, text),
        reading=_reading(found),
        tag=tag,
        site=read.site,
        text=text,
        coloured=coloured_words(text, first_words=read.read_at == "word"),
        sampled=text.sample(seed=found.seed),
        neurons_per_layer=read.model.width(read.site),
        neurons=neurons,
        store=f"experiment {store.experiment!r} of {store.uri}",
    )


def _key_of(key: Mapping[str, Any], layer: int, number: int) -> tuple[KeyOf, ...]:
    """The tags that a neuron is a key neuron of, the highest place first."""
    places = [
        KeyOf(tag, rank, len(own), each["score"], *map(each.get, ("p_value", "p_adjusted", "vanishes")))
        for tag, own in key["tags"].items()
        for rank, each in enumerate(own, start=1)
        if (each["layer"], each["neuron"]) == (layer, number)
    ]
    return tuple(sorted(places, key=lambda place: (place.rank, place.tag)))


def _facts(found: Rebuilt, text: DevText) -> dict[str, str]:
    """The head of the page."""
    key, model = found.key, found.key["model"]
    words = len(text.words.rows)
    return {
        "Model": f"{model['id']}{' with random weights' if model['random_weights'] else ''} ({model['revision']})",
        "Data": f"{found.treebank.id}: {len(text.sentences)} dev sentences, {words} words with a tag that counts "
        f"({key['tag_column']}); digest {key['dataset']['digest'][:12]}",
        "Run": f"{found.run.name} ({found.run.id})",
        "Selected": f"{key['top_k']} neurons a tag {'in each layer' if key['scope'] == 'layer' else 'over all layers'} "
        f"by {key['method']}, on the train words",
    }


def _reading(found: Rebuilt) -> str:
    """What a colour means."""
    read, attributed = found.read, ""
    if "scored_at" in found.key:
        attributed = " The run scored neurons by what they add to the prediction of words, which is not shown here."
    if read.read_at == "prediction":
        return (
            "A word has the colour of the activation at the token before it, where the model predicts it: what the "
            "neuron does when the word is not yet seen. First words of sentences have no colour and do not count, "
            "since nothing but the same token stands before each of them." + attributed
        )
    token = {"last": "at its last token", "first": "at its first token", "mean": "as a mean over its tokens"}
    return f"A word has the colour of the activation {token[read.pooling]}, when the model has read it." + attributed
