"""The neuron sets that finished runs left, in groups whose neurons are the same things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from keyneurons.analysis.consensus import Consensus, SelectedNeuron, Tally, consensus, selected_neurons, tally
from keyneurons.analysis.set_agreement import SetAgreement, set_agreement
from keyneurons.artifacts.bound import Bound
from keyneurons.artifacts.key_neurons import sets_in, write_key_neurons
from keyneurons.records import NeuronSets

FILTERS = {
    "model": "tags.model = '{}'",
    "revision": "tags.model_revision = '{}'",
    "random_weights": "params.`model.random_weights` = '{}'",
    "site": "params.site = '{}'",
    "tag_column": "params.`dataset.tag_column` = '{}'",
}


@dataclass(frozen=True)
class SetGroup:
    """Runs whose sets are compared; the rest is None or empty where there is one run only."""

    bound: Bound
    sets: Mapping[str, NeuronSets]
    agreement: SetAgreement | None = None
    found: tuple[SelectedNeuron, ...] = ()
    tally: tuple[Tally, ...] = ()
    consensus: Consensus | None = None


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
    names = [field.name for field in fields(Bound)]
    values = {name: tuple(dict.fromkeys(getattr(group.bound, name) for group in groups)) for name in names}
    return {name: several for name, several in values.items() if len(several) > 1}


def write_consensus(path: Path, group: SetGroup, files: Mapping[str, Mapping[str, Any]], share: float | None) -> None:
    """Write the consensus of a group as a ``key_neurons.json`` that a run takes; scores are shares of agreeing runs.

    Raises:
        ValueError: there is one run only.
    """
    if group.consensus is None:
        raise ValueError(f"a consensus needs at least 2 runs, got {len(group.sets)}")
    own = [files[run] for run in group.sets]
    write_key_neurons(
        path,
        group.bound,
        group.consensus.tags,
        dataset={name: ", ".join(sorted({file["dataset"][name] for file in own})) for name in ("id", "digest")},
        layers=sorted({layer for sets in group.sets.values() for layer in sets.layers}),
        read_at=", ".join(sorted({str(file.get("read_at")) for file in own})),
        method="consensus",
        settings={"consensus": {"runs": list(group.sets), "share": "majority" if share is None else share}},
    )
