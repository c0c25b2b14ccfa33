"""``key_neurons.json``: the key neurons of every tag, and all that they are bound to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from keyneurons.artifacts.plain import Strict, checked, read_json
from keyneurons.records import Scope, Sign, Site, ThresholdKind

FORMAT = 1

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
