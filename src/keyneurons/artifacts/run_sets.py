"""The neuron sets that finished runs left, in groups whose neurons are the same things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from keyneurons.analysis.consensus import Consensus, SelectedNeuron, Tally, consensus, selected_neurons, tally
from keyneurons.analysis.set_agreement import SetAgreement, set_agreement
from keyneurons.artifacts.key_neurons import FORMAT
from keyneurons.records import KeyNeuron, NeuronSets, Site

BOUND = ("model", "revision", "tokenizer", "random_weights", "site", "neurons_per_layer", "tag_column")
FILTERS = {
    "model": "tags.model = '{}'",
    "revision": "tags.model_revision = '{}'",
    "random_weights": "params.`model.random_weights` = '{}'",
    "site": "params.site = '{}'",
    "tag_column": "params.`dataset.tag_column` = '{}'",
}
MODEL = {"id": "model", "revision": "revision", "tokenizer": "tokenizer", "random_weights": "random_weights"}


@dataclass(frozen=True)
class Bound:
    """What neurons and tags are bound to: sets that differ in any of it are not compared."""

    model: str
    revision: str
    tokenizer: str
    random_weights: bool
    site: Site
    neurons_per_layer: int
    tag_column: str

    def __str__(self) -> str:
        return f"{self.model}{' with random weights' if self.random_weights else ''}, {self.site}"


@dataclass(frozen=True)
class SetGroup:
    """Runs whose sets are compared; the rest is None or empty where there is one run only."""

    bound: Bound
    sets: Mapping[str, NeuronSets]
    agreement: SetAgreement | None = None
    found: tuple[SelectedNeuron, ...] = ()
    tally: tuple[Tally, ...] = ()
    consensus: Consensus | None = None


def sets_in(file: Mapping[str, Any]) -> tuple[Bound, NeuronSets]:
    """What a ``key_neurons.json`` holds, given as ``read_key_neurons`` returns it."""
    model = file["model"]
    bound = Bound(
        model["id"],
        model["revision"],
        model["tokenizer"],
        model["random_weights"],
        file["site"],
        file["neurons_per_layer"],
        file["tag_column"],
    )
    tags = {
        tag: tuple(KeyNeuron(n["layer"], n["neuron"], n["score"]) for n in own) for tag, own in file["tags"].items()
    }
    return bound, NeuronSets(bound.site, tuple(file["layers"]), bound.neurons_per_layer, dict(sorted(tags.items())))


def group_sets(files: Mapping[str, Mapping[str, Any]], share: float | None) -> tuple[SetGroup, ...]:
    """Compare the sets of runs within groups that are bound to the same; the largest group first.

    Args:
        files: the ``key_neurons.json`` of every run, in the order of the table.
        share: of the runs that must find a neuron of the consensus; None asks for more than half.

    Returns:
        The groups.
    """
    groups: dict[Bound, dict[str, NeuronSets]] = {}
    for run, file in files.items():
        bound, sets = sets_in(file)
        groups.setdefault(bound, {})[run] = sets
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return tuple(
        SetGroup(b, own, set_agreement(own), selected_neurons(own), tally(own), consensus(own, share))
        if len(own) > 1
        else SetGroup(b, own)
        for b, own in ordered
    )


def why_apart(groups: Sequence[SetGroup]) -> str | None:
    """Why sets are compared within groups only, and how to have one group alone."""
    if len(groups) < 2:
        return None
    named = "; ".join(f"{group.bound} ({len(group.sets)})" for group in groups)
    found = _differences(groups)
    differ = ", ".join(f"{name} ({', '.join(str(value)[:40] for value in values)})" for name, values in found.items())
    hints = [FILTERS[name].format(values[0]) for name, values in found.items() if name in FILTERS]
    alone = f' One of them alone: keyneurons compare "filter={hints[0]}".' if hints else ""
    lonely = " Every run is alone in its group." if all(len(group.sets) == 1 for group in groups) else ""
    return (
        f"Neurons of different {' and '.join(found)} are not the same things, so sets are not compared between these "
        f"groups, only within each: {named}. They differ in {differ}.{lonely}{alone}"
    )


def _differences(groups: Sequence[SetGroup]) -> dict[str, tuple[object, ...]]:
    """In what groups differ, and the values."""
    values = {name: tuple(dict.fromkeys(getattr(group.bound, name) for group in groups)) for name in BOUND}
    return {name: several for name, several in values.items() if len(several) > 1}


def consensus_file(group: SetGroup, files: Mapping[str, Mapping[str, Any]], share: float | None) -> dict[str, Any]:
    """The consensus of a group as a ``key_neurons.json`` that a run takes; a score is the share of runs that agree.

    Raises:
        ValueError: there is one run only.
    """
    if group.consensus is None:
        raise ValueError(f"a consensus needs at least 2 runs, got {len(group.sets)}")
    own = [files[run] for run in group.sets]
    bound = group.bound
    datasets = {(file["dataset"]["id"], file["dataset"]["digest"]) for file in own}
    return {
        "format": FORMAT,
        "model": {name: getattr(bound, field) for name, field in MODEL.items()},
        "dataset": {name: ", ".join(sorted({d[i] for d in datasets})) for i, name in enumerate(("id", "digest"))},
        "tag_column": bound.tag_column,
        "site": bound.site,
        "layers": sorted({layer for sets in group.sets.values() for layer in sets.layers}),
        "neurons_per_layer": bound.neurons_per_layer,
        "read_at": ", ".join(sorted({str(file.get("read_at")) for file in own})),
        "method": "consensus",
        "consensus": {"runs": list(group.sets), "share": "majority" if share is None else share},
        "tags": {tag: [asdict(neuron) for neuron in neurons] for tag, neurons in group.consensus.tags.items()},
    }
