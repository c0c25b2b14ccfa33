"""``key_neurons.json``: the key neurons of every tag, with model, dataset and settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from keyneurons.analysis.confounds import Confounded
from keyneurons.artifacts.bound import NEURONS, Binding, Units
from keyneurons.artifacts.plain import Strict, Versioned, read_json, validate
from keyneurons.atomic_files import write_json
from keyneurons.data.word_features import CONFOUNDS
from keyneurons.records import KeyNeuron, NeuronSets, Scope, Sign, Site, ThresholdKind

KEY_NEURONS_FILE = "key_neurons.json"
FORMAT = 1
MODEL = {
    "id": "model",
    "revision": "revision",
    "architecture": "architecture",
    "tokenizer": "tokenizer",
    "random_weights": "random_weights",
}
"""Fields of ``Binding`` by the model's keys in the file."""

Text = Annotated[str, Field(min_length=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Model(Strict):
    """The model of the neurons."""

    id: Text
    revision: Text
    architecture: Text
    tokenizer: Text
    random_weights: NonNegativeInt | None


class Basis(Strict):
    """What the neurons are units of: the kind of the basis, and its digest."""

    name: Text
    digest: Text


class Dataset(Strict):
    """The text that the neurons were selected on."""

    id: Text
    digest: Text


class Neuron(Strict):
    """A key neuron of a tag, with the results of significance and confound checks."""

    layer: NonNegativeInt
    neuron: NonNegativeInt
    score: float
    p_value: Probability | None = None
    p_adjusted: Probability | None = None
    effect: float | None = None
    confounds: Mapping[str, float] | None = None
    correlation: float | None = None
    partial: float | None = None
    partial_p_adjusted: Probability | None = None
    vanishes: bool | None = None


class Source(Strict):
    """The selection of given sets: model revision, method, dataset and tag column; digests."""

    revision: Text
    method: Text
    dataset: Text
    tag_column: Text
    digest: Text
    neuron_sets: Text


class KeyNeurons(Versioned):
    """The whole file; layers and neuron indices are checked against the layers and their width.

    Without a basis, the neurons are those of the model.
    """

    supported = FORMAT
    model: Model
    dataset: Dataset
    tag_column: Text
    site: Site
    layers: Annotated[list[NonNegativeInt], Field(min_length=1)]
    neurons_per_layer: PositiveInt
    basis: Basis | None = None
    read_at: Annotated[str, Field(pattern=r"^(word|prediction)(, (word|prediction))?$")]
    method: Text
    scored_at: str | None = None
    attribution: Mapping[str, Any] | None = None
    consensus: Mapping[str, Any] | None = None
    source: Source | None = None
    top_k: PositiveInt | None = None
    scope: Scope | None = None
    sign: Sign | None = None
    threshold: ThresholdKind | None = None
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    mass: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: NonNegativeInt | None = None
    tags: Mapping[Text, list[Neuron]]

    @model_validator(mode="after")
    def _consistent(self) -> KeyNeurons:
        for message in self._inconsistencies():
            raise ValueError(message)
        return self

    def _inconsistencies(self) -> Iterator[str]:
        if self.layers != sorted(set(self.layers)):
            yield f"layers must be ascending and unique, got {self.layers}"
        most = None if self.top_k is None else self.top_k * (len(self.layers) if self.scope == "layer" else 1)
        for tag, neurons in self.tags.items():
            for n in neurons:
                if n.layer not in self.layers:
                    yield f"tag {tag!r} has a neuron of layer {n.layer}, which is not in layers {self.layers}"
                if n.neuron >= self.neurons_per_layer:
                    yield (
                        f"tag {tag!r} has neuron {n.neuron} of layer {n.layer}; "
                        f"neurons of this site must lie in 0..{self.neurons_per_layer - 1}"
                    )
            if len({(n.layer, n.neuron) for n in neurons}) < len(neurons):
                yield f"tag {tag!r} has a neuron twice"
            if most is not None and len(neurons) > most:
                yield f"tag {tag!r} has {len(neurons)} neurons, but top_k={self.top_k} allows {most}"


def write_key_neurons(
    path: Path,
    bound: Binding,
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
        bound: model, site and tag column of the neurons.
        tags: the key neurons of every tag, strongest first.
        dataset: id and digest of the text.
        layers: the layers that were read, ascending.
        read_at: position at which words were read.
        method: name of the selection method.
        settings: optional keys of the file: settings of scoring and selection.
        confounds: correlations of each key neuron with surface features, in the order of ``tags``.
    """
    model = {name: getattr(bound, field) for name, field in MODEL.items()}
    neurons = {tag: [asdict(neuron) for neuron in own] for tag, own in tags.items()}
    for tag, checks in (confounds or {}).items():
        neurons[tag] = [{**neuron, **_confounded(check)} for neuron, check in zip(neurons[tag], checks, strict=True)]
    head = {"format": FORMAT, "model": model, "dataset": dict(dataset), "tag_column": bound.tag_column}
    site: dict[str, Any] = {"site": bound.site, "layers": list(layers), "neurons_per_layer": bound.neurons_per_layer}
    if bound.basis != NEURONS:
        site["basis"] = asdict(bound.basis)
    write_json(path, {**head, **site, "read_at": read_at, "method": method, **settings, "tags": neurons})


def local_key_neurons(which: str | Path) -> Path | None:
    """The ``key_neurons.json`` of a file or of the folder of a run; None if there is neither.

    Raises:
        ValueError: the folder contains none.
    """
    path = Path(which).expanduser()
    if path.is_dir():
        if not (path / KEY_NEURONS_FILE).is_file():
            raise ValueError(f"{path} contains no {KEY_NEURONS_FILE}")
        return path / KEY_NEURONS_FILE
    return path if path.is_file() else None


def read_key_neurons(path: Path) -> dict[str, Any]:
    """Read and validate the whole file.

    Args:
        path: the file.

    Returns:
        The file's contents as plain values.

    Raises:
        ValueError: the file is damaged or of another version; one line names the file and the
            problem.
    """
    plain = read_json(path)
    validate(KeyNeurons, plain, path)
    contents: dict[str, Any] = plain
    return contents


def sets_in(file: Mapping[str, Any]) -> tuple[Binding, NeuronSets]:
    """The neuron sets in the contents of a file, as ``read_key_neurons`` returns them."""
    shared = {name: file[name] for name in ("site", "neurons_per_layer", "tag_column")}
    basis = Units(**file["basis"]) if "basis" in file else NEURONS
    bound = Binding(**{field: file["model"][name] for name, field in MODEL.items()}, **shared, basis=basis)
    tags = {
        tag: tuple(KeyNeuron(n["layer"], n["neuron"], n["score"]) for n in own) for tag, own in file["tags"].items()
    }
    sets = NeuronSets(
        bound.site, tuple(file["layers"]), bound.neurons_per_layer, dict(sorted(tags.items())), basis.name
    )
    return bound, sets


def basis_name(file: Mapping[str, Any]) -> str:
    """The basis of the units in the contents of a file."""
    return str(file.get("basis", {"name": NEURONS.name})["name"])


def _confounded(check: Confounded) -> dict[str, Any]:
    return {
        "confounds": dict(zip(CONFOUNDS, check.correlations, strict=True)),
        "correlation": check.with_tag,
        "partial": check.partial,
        "partial_p_adjusted": check.p_adjusted,
        "vanishes": check.vanishes,
    }
