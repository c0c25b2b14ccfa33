"""``key_neurons.json``: the key neurons of every tag, and all that they are bound to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from keyneurons.analysis.confounds import Confounded
from keyneurons.artifacts.bound import Bound
from keyneurons.artifacts.plain import Strict, checked, read_json
from keyneurons.atomic_files import write_json
from keyneurons.data.word_features import CONFOUNDS
from keyneurons.records import KeyNeuron, NeuronSets, Scope, Sign, Site, ThresholdKind

KEY_NEURONS_FILE = "key_neurons.json"
FORMAT = 1
MODEL = {"id": "model", "revision": "revision", "tokenizer": "tokenizer", "random_weights": "random_weights"}
"""By key of the model in the file, the field of ``Bound``."""

Text = Annotated[str, Field(min_length=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Model(Strict):
    """The model that the neurons are of."""

    id: Text
    revision: Text
    tokenizer: Text
    random_weights: bool


class Dataset(Strict):
    """The text that they were selected on."""

    id: Text
    digest: Text


class Neuron(Strict):
    """A key neuron of a tag, and what the checks of a run said of it."""

    layer: NonNegativeInt
    neuron: NonNegativeInt
    score: float
    p_value: Probability | None = None
    p_adjusted: Probability | None = None
    effect: float | None = None
    confounds: Mapping[str, float] | None = None
    partial: float | None = None
    partial_p_adjusted: Probability | None = None
    vanishes: bool | None = None


class KeyNeurons(Strict):
    """The whole file. Numbers of neurons are checked against the layers and their width."""

    format: int
    model: Model
    dataset: Dataset
    tag_column: Text
    site: Site
    layers: Annotated[list[NonNegativeInt], Field(min_length=1)]
    neurons_per_layer: PositiveInt
    read_at: Annotated[str, Field(pattern=r"^(word|prediction)(, (word|prediction))?$")]
    method: Text
    scored_at: str | None = None
    attribution: Mapping[str, Any] | None = None
    consensus: Mapping[str, Any] | None = None
    top_k: PositiveInt | None = None
    scope: Scope | None = None
    sign: Sign | None = None
    threshold: ThresholdKind | None = None
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    mass: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: NonNegativeInt | None = None
    tags: Mapping[Text, list[Neuron]]

    @model_validator(mode="before")
    @classmethod
    def _of_this_format(cls, plain: Any) -> Any:
        if isinstance(plain, dict) and (found := plain.get("format", FORMAT)) != FORMAT:
            raise ValueError(f"format {found!r} is not supported, only {FORMAT}")
        return plain

    @model_validator(mode="after")
    def _consistent(self) -> KeyNeurons:
        for told in self._wrong():
            raise ValueError(told)
        return self

    def _wrong(self) -> Iterator[str]:
        if self.layers != sorted(set(self.layers)):
            yield f"layers must be ascending and each stand there once: {self.layers}"
        most = None if self.top_k is None else self.top_k * (len(self.layers) if self.scope == "layer" else 1)
        for tag, neurons in self.tags.items():
            for n in neurons:
                if n.layer not in self.layers:
                    yield f"tag {tag!r} has a neuron of layer {n.layer}, which is none of layers {self.layers}"
                if n.neuron >= self.neurons_per_layer:
                    yield (
                        f"tag {tag!r} has neuron {n.neuron} of layer {n.layer}; "
                        f"neurons of this site are 0..{self.neurons_per_layer - 1}"
                    )
            if len({(n.layer, n.neuron) for n in neurons}) < len(neurons):
                yield f"tag {tag!r} has a neuron twice"
            if most is not None and len(neurons) > most:
                yield f"tag {tag!r} has {len(neurons)} neurons, and top_k={self.top_k} allows {most}"


def write_key_neurons(
    path: Path,
    bound: Bound,
    tags: Mapping[str, Sequence[KeyNeuron]],
    *,
    dataset: Mapping[str, str],
    layers: Sequence[int],
    read_at: str,
    method: str,
    settings: Mapping[str, Any],
    confounds: Mapping[str, Sequence[Confounded]] | None = None,
) -> None:
    """Write the file.

    Args:
        path: the file.
        bound: what the neurons are bound to.
        tags: the key neurons of every tag, the strongest first.
        dataset: id and digest of the text.
        layers: the layers that were read, ascending.
        read_at: where the words were read.
        method: name of the selection method.
        settings: the optional keys of the file that say how neurons were scored and selected.
        confounds: what each key neuron has in common with surface features, in the order of ``tags``.
    """
    model = {name: getattr(bound, field) for name, field in MODEL.items()}
    neurons = {tag: [asdict(neuron) for neuron in own] for tag, own in tags.items()}
    for tag, found in (confounds or {}).items():
        neurons[tag] = [{**neuron, **_confounded(own)} for neuron, own in zip(neurons[tag], found, strict=True)]
    head = {"format": FORMAT, "model": model, "dataset": dict(dataset), "tag_column": bound.tag_column}
    site = {"site": bound.site, "layers": list(layers), "neurons_per_layer": bound.neurons_per_layer}
    write_json(path, {**head, **site, "read_at": read_at, "method": method, **settings, "tags": neurons})


def read_key_neurons(path: Path) -> dict[str, Any]:
    """Read the file and check all of it.

    Args:
        path: the file.

    Returns:
        What it holds, as plain values.

    Raises:
        ValueError: it is damaged, or no such file of this version; one line with the file and what is wrong.
    """
    plain = read_json(path)
    checked(KeyNeurons, plain, path)
    found: dict[str, Any] = plain
    return found


def sets_in(file: Mapping[str, Any]) -> tuple[Bound, NeuronSets]:
    """The neuron sets of a file, given as ``read_key_neurons`` returns it, and what they are bound to."""
    whole = {name: file[name] for name in ("site", "neurons_per_layer", "tag_column")}
    bound = Bound(**{field: file["model"][name] for name, field in MODEL.items()}, **whole)
    tags = {
        tag: tuple(KeyNeuron(n["layer"], n["neuron"], n["score"]) for n in own) for tag, own in file["tags"].items()
    }
    return bound, NeuronSets(bound.site, tuple(file["layers"]), bound.neurons_per_layer, dict(sorted(tags.items())))


def _confounded(found: Confounded) -> dict[str, Any]:
    return {
        "confounds": dict(zip(CONFOUNDS, found.correlations, strict=True)),
        "partial": found.partial,
        "partial_p_adjusted": found.p_adjusted,
        "vanishes": found.vanishes,
    }
