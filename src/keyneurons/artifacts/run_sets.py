"""Neuron sets of finished runs, grouped by the lineage of their model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from keyneurons.analysis.consensus import Consensus, SelectedNeuron, Tally, consensus, selected_neurons, tally
from keyneurons.analysis.set_agreement import SetAgreement, set_agreement
from keyneurons.artifacts.bound import Binding, Lineage
from keyneurons.artifacts.key_neurons import sets_in, write_key_neurons
from keyneurons.records import NeuronSets

FILTERS = {
    "model": "tags.model = '{}'",
    "random_weights": "params.`model.random_weights` = '{}'",
    "site": "params.site = '{}'",
    "tag_column": "params.`dataset.tag_column` = '{}'",
}


@dataclass(frozen=True)
class SetGroup:
    """Runs with comparable sets; comparisons are None or empty for a single run."""

    lineage: Lineage
    bounds: Mapping[str, Binding]
    sets: Mapping[str, NeuronSets]
    agreement: SetAgreement | None = None
    found: tuple[SelectedNeuron, ...] = ()
    tally: tuple[Tally, ...] = ()
    consensus: Consensus | None = None

    @property
    def revisions(self) -> tuple[str, ...]:
        """The revisions of the model."""
        return tuple(dict.fromkeys(bound.revision for bound in self.bounds.values()))


def group_sets(files: Mapping[str, Mapping[str, Any]], share: float | None) -> tuple[SetGroup, ...]:
    """Compare the sets of runs within groups of one lineage.

    Args:
        files: the ``key_neurons.json`` of every run, in the order of the table.
        share: minimum share of runs that select a neuron of the consensus; None means a majority.

    Returns:
        The groups, largest first.
    """
    groups: dict[Lineage, dict[str, tuple[Binding, NeuronSets]]] = {}
    for run, file in files.items():
        bound, sets = sets_in(file)
        groups.setdefault(bound.lineage, {})[run] = bound, sets
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return tuple(_group(lineage, own, share) for lineage, own in ordered)


def _group(lineage: Lineage, runs: Mapping[str, tuple[Binding, NeuronSets]], share: float | None) -> SetGroup:
    bounds, sets = {run: bound for run, (bound, _) in runs.items()}, {run: own for run, (_, own) in runs.items()}
    if len(sets) < 2:
        return SetGroup(lineage, bounds, sets)
    found = selected_neurons(sets)
    return SetGroup(lineage, bounds, sets, set_agreement(sets), found, tally(sets), consensus(sets, share))


def explain_revisions(groups: Sequence[SetGroup]) -> str | None:
    """A message that sets of several revisions of a model are compared; None if there are none."""
    several = {str(group.lineage): len(group.revisions) for group in groups if len(group.revisions) > 1}
    if not several:
        return None
    named = "; ".join(f"{number} of {lineage}" for lineage, number in several.items())
    return f"Sets of several revisions of a model are compared with each other: {named}."


def explain_groups(groups: Sequence[SetGroup]) -> str | None:
    """A message on why sets are compared within groups only; None for a single group."""
    if len(groups) < 2:
        return None
    named = "; ".join(f"{group.lineage} ({len(group.sets)})" for group in groups)
    differences = _differences(groups)
    differ = ", ".join(
        f"{name} ({', '.join(str(value)[:40] for value in values)})" for name, values in differences.items()
    )
    first = {name: "null" if values[0] is None else values[0] for name, values in differences.items()}
    hints = [_condition(name, value) for name, value in first.items() if name in FILTERS]
    hint = f' To compare one group alone: keyneurons compare "filter={hints[0]}".' if hints else ""
    single = " Every group has a single run." if all(len(group.sets) == 1 for group in groups) else ""
    return (
        f"Neurons of different {' and '.join(differences)} are not comparable, so sets are compared within these "
        f"groups only: {named}. They differ in {differ}.{single}{hint}"
    )


def _differences(groups: Sequence[SetGroup]) -> dict[str, tuple[object, ...]]:
    """Fields of the lineage that differ between groups, with their values."""
    names = [field.name for field in fields(Lineage)]
    values = {name: tuple(dict.fromkeys(getattr(group.lineage, name) for group in groups)) for name in names}
    return {name: distinct for name, distinct in values.items() if len(distinct) > 1}


def _condition(name: str, value: object) -> str:
    """The condition of a filter; ``run/step_*`` stands for all steps."""
    condition = FILTERS[name].format(value)
    return condition.replace("= ", "LIKE ").replace("*", "%") if name == "model" and "*" in condition else condition


def write_consensus(path: Path, group: SetGroup, files: Mapping[str, Mapping[str, Any]], share: float | None) -> None:
    """Write the consensus of a group as ``key_neurons.json``; scores are shares of agreeing runs.

    Its model has the revisions of all runs.

    Raises:
        ValueError: the group has a single run.
    """
    if group.consensus is None:
        raise ValueError(f"a consensus needs at least 2 runs, got {len(group.sets)}")
    own, bounds = [files[run] for run in group.sets], list(group.bounds.values())
    model = bounds[0].model if len({bound.model for bound in bounds}) == 1 else group.lineage.model
    write_key_neurons(
        path,
        replace(bounds[0], model=model, revision=", ".join(group.revisions)),
        group.consensus.tags,
        dataset={name: ", ".join(sorted({file["dataset"][name] for file in own})) for name in ("id", "digest")},
        layers=sorted({layer for sets in group.sets.values() for layer in sets.layers}),
        read_at=", ".join(sorted({str(file.get("read_at")) for file in own})),
        method="consensus",
        settings={"consensus": {"runs": list(group.sets), "share": "majority" if share is None else share}},
    )
