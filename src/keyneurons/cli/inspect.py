"""The command ``inspect``: shows activations of single neurons and their score by each method."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.key_neurons import sets_in
from keyneurons.atomic_files import write_text
from keyneurons.config.paths import output_folder
from keyneurons.config.schema import Config
from keyneurons.models.permuted import describe_model
from keyneurons.pipeline.neuron_profile import DevText, coloured_words, neuron_on_dev
from keyneurons.report.neuron.method_scores import KeptScores, scores_by_method
from keyneurons.report.neuron.page import InspectedNeuron, Inspection, KeyOf, page
from keyneurons.runs.kept_scores import kept_scores
from keyneurons.runs.reload import Rebuilt, rebuild

MOST_NEURONS = 10
CHECKED = "p_value", "p_adjusted", "correlation", "partial", "vanishes"
"""Fields of a key neuron in its file, in the order of ``KeyOf``."""
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
    """Write the page on the key neurons of a tag, or on one neuron.

    Args:
        run: MLflow id of a run, or its folder under ``outputs/``.
        tag: the tag; at most its ten strongest key neurons are shown.
        neuron: a neuron by its name, such as site.layer.number, in a layer of the run.
        overrides: overrides of ``tracking``, ``cache`` and ``model.device``; all other values are
            those of the run.
        compose: returns the validated configuration with some overrides.
        out: path of the page; None for a new folder under ``outputs/``.

    Returns:
        The path of the page, and a warning for each other run of the store with damaged files.

    Raises:
        ValueError: if the run, tag or neuron does not exist, or not exactly one of ``tag`` and
            ``neuron`` is given.
    """
    if (tag is None) == (neuron is None):
        raise ValueError(
            f"give one of --tag TAG and --neuron SITE.LAYER.NUMBER, got {'none' if tag is None else 'both'}"
        )
    rebuilt = rebuild(run, overrides, compose)
    if neuron is not None:
        neurons = _parse_neuron(neuron, rebuilt.key, rebuilt.read)
    else:
        neurons = _key_neurons_of(str(tag), rebuilt.key)
    kept, damaged = kept_scores(rebuilt, sorted({layer for layer, _ in neurons}))
    html = page(_inspect(rebuilt, tag, neurons, kept))
    path = out if out is not None else output_folder("inspect") / f"inspect_{UNSAFE.sub('_', str(tag or neuron))}.html"
    write_text(path, html)
    return path, damaged


def _key_neurons_of(tag: str, key: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Layer and number of the strongest key neurons of a tag.

    Raises:
        ValueError: if the run has no such tag, or no key neurons for it.
    """
    if tag not in key["tags"]:
        raise ValueError(f"the run has no tag {tag!r}; it has {', '.join(key['tags'])}")
    if not key["tags"][tag]:
        raise ValueError(f"the run has no key neurons of {tag}; choose a neuron with --neuron SITE.LAYER.NUMBER")
    return [(each["layer"], each["neuron"]) for each in key["tags"][tag][:MOST_NEURONS]]


def _parse_neuron(neuron: str, key: Mapping[str, Any], read: ActivationReader) -> list[tuple[int, int]]:
    """Layer and number of a neuron given by its name.

    Raises:
        ValueError: if the run has no such neuron.
    """
    _, sets = sets_in(key)
    shape, layers = sets.name("LAYER", "NUMBER"), ", ".join(map(str, key["layers"]))
    legal = f"--neuron must be {shape} with LAYER in {layers} and NUMBER in 0..{read.units - 1}"
    numbers = [part for part in neuron.split(".") if re.fullmatch("[0-9]{1,9}", part)]
    layer, number = map(int, numbers) if len(numbers) == 2 else (-1, -1)
    if neuron != sets.name(layer, number) or layer not in key["layers"] or number >= read.units:
        raise ValueError(f"{legal}, got {neuron!r}")
    return [(layer, number)]


def _inspect(
    rebuilt: Rebuilt, tag: str | None, neurons: Sequence[tuple[int, int]], kept: Sequence[KeptScores]
) -> Inspection:
    """The contents of the page."""
    read, text = rebuilt.read, DevText.of(rebuilt.treebank, rebuilt.labels)
    layers = tuple(sorted({layer for layer, _ in neurons}))
    activations = replace(read, layers=layers)(text.sentences, "dev")
    scores = scores_by_method(kept, read.site, neurons)
    store = rebuilt.run.store
    inspected = tuple(
        InspectedNeuron(
            neuron_on_dev(text, activations[layer], layer, number, rebuilt.seed),
            _key_of(rebuilt.key, layer, number),
            scores[layer, number],
        )
        for layer, number in neurons
    )
    return Inspection(
        run=rebuilt.run.name,
        facts=_facts(rebuilt, text),
        reading=_legend(rebuilt),
        tag=tag,
        sets=sets_in(rebuilt.key)[1],
        text=text,
        coloured=coloured_words(text, first_words=read.read_at == "word"),
        sampled=text.sample(seed=rebuilt.seed),
        neurons=inspected,
        store=f"experiment {store.experiment!r} of {store.uri}",
    )


def _key_of(key: Mapping[str, Any], layer: int, number: int) -> tuple[KeyOf, ...]:
    """The tags of which a neuron is a key neuron, by rank."""
    places = [
        KeyOf(tag, rank, len(own), each["score"], *map(each.get, CHECKED))
        for tag, own in key["tags"].items()
        for rank, each in enumerate(own, start=1)
        if (each["layer"], each["neuron"]) == (layer, number)
    ]
    return tuple(sorted(places, key=lambda place: (place.rank, place.tag)))


def _facts(rebuilt: Rebuilt, text: DevText) -> dict[str, str]:
    """The header of the page."""
    key, model = rebuilt.key, rebuilt.key["model"]
    words = len(text.words.rows)
    return {
        "Model": f"{describe_model(model['id'], model['random_weights'])} ({model['revision']})",
        "Data": f"{rebuilt.treebank.id}: {len(text.sentences)} dev sentences, {words} words with an included tag "
        f"({key['tag_column']}); digest {key['dataset']['digest'][:12]}",
        "Run": f"{rebuilt.run.name} ({rebuilt.run.id})",
        "Selected": f"{key['top_k']} neurons per tag "
        f"{'in each layer' if key['scope'] == 'layer' else 'over all layers'} by {key['method']}, on the train words",
    }


def _legend(rebuilt: Rebuilt) -> str:
    """The explanation of the colours."""
    read, attributed = rebuilt.read, ""
    if "scored_at" in rebuilt.key:
        attributed = " The run scored neurons by their contribution to word predictions, which is not shown here."
    if read.read_at == "prediction":
        return (
            "The colour of a word is the neuron's activation at the token before it, where the model predicts the "
            "word without having read it. First words of sentences have no colour and are excluded: the token "
            "before them is always the same." + attributed
        )
    token = {"last": "at its last token", "first": "at its first token", "mean": "averaged over its tokens"}
    return f"The colour of a word is the neuron's activation {token[read.pooling]}." + attributed
