"""Runs of several revisions of one model in the order of their steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from keyneurons.analysis.trajectory import Compared, Trajectory, trajectory
from keyneurons.artifacts.run_sets import SetGroup
from keyneurons.metric_names import metric_name
from keyneurons.metrics import ACCURACY, control_accuracy
from keyneurons.models.revisions import step_of
from keyneurons.report.comparison.factors import describe, sortable
from keyneurons.report.comparison.run_table import RunRow

STEP_KEYS = ("model.revision", "model.folder", "model.id")
"""The params that name a checkpoint, the first that has a step counts."""

CONTROLS = {
    control_accuracy("all_neurons"): "all neurons",
    control_accuracy("word_form"): "form of the word alone",
    control_accuracy("random"): "random sets",
    control_accuracy("majority"): "most frequent tag",
}
"""Controls beside the accuracy, with their names in figures and tables."""

TABLE_HEAD = (
    "trajectory", "step", "run", "tag", "size", "f1",
    "jaccard_with_last", "expected_with_last", "jaccard_with_previous", "expected_with_previous",
    "born", "expected_born", "died", "expected_died",
)  # fmt: skip
NEURONS_HEAD = ("trajectory", "tag", "layer", "neuron", "born", "settled", "died", "steps")


@dataclass(frozen=True)
class OverSteps:
    """The runs of one configuration on several checkpoints, in the order of their steps."""

    title: str
    steps: tuple[int, ...]
    rows: tuple[RunRow, ...]
    sets: Trajectory

    def metric(self, name: str) -> list[float]:
        """A metric of every step; nan where a run lacks it."""
        return [row.metrics.get(name, np.nan) for row in self.rows]

    def controls(self) -> dict[str, list[float]]:
        """The accuracies of the controls that any run has, by their names."""
        values = {label: self.metric(name) for name, label in CONTROLS.items()}
        return {label: own for label, own in values.items() if not np.isnan(own).all()}

    def f1(self, tag: str) -> list[float]:
        """F1 of a tag at every step, by the probe on all key neurons."""
        return self.metric(metric_name(f"probe/test_f1/{tag}"))

    def settled(self) -> list[float]:
        """Share of the neurons of the last sets that are in the set from each step on."""
        at = [life.settled for life in self.sets.lives if life.settled is not None]
        return [fmean(settled <= i for settled in at) if at else np.nan for i in range(len(self.steps))]

    def half_settled(self, tag: str) -> int | None:
        """The first step from which on half of a tag's last set stays; None for an empty set."""
        at = self.sets.settled(tag)
        return self.steps[at[(len(at) - 1) // 2]] if at else None


def trajectories(rows: Sequence[RunRow], groups: Sequence[SetGroup]) -> tuple[OverSteps, ...]:
    """One trajectory for every combination of the other factors with at least two steps.

    Runs whose revision has no step in its name, such as ``main``, are not part of one; of several
    runs of one step, the first is.
    """
    found = []
    for group in groups:
        if len(group.revisions) < 2:
            continue
        apart: dict[tuple[tuple[str, str], ...], dict[int, RunRow]] = {}
        for row in rows:
            if row.id in group.sets and (step := _step(row)) is not None:
                others = tuple((key, value) for key, value in row.factors.items() if key not in STEP_KEYS)
                apart.setdefault(others, {}).setdefault(step, row)
        for others, own in sorted(apart.items(), key=lambda item: [sortable(value) for _, value in item[0]]):
            if len(own) > 1:
                title = ", ".join(filter(None, [str(group.lineage), describe(dict(others))]))
                found.append(_over_steps(title, dict(sorted(own.items())), group))
    return tuple(found)


def _step(row: RunRow) -> int | None:
    steps = (step_of(row.factors.get(key, "")) for key in STEP_KEYS)
    return next((step for step in steps if step is not None), None)


def _over_steps(title: str, by_step: dict[int, RunRow], group: SetGroup) -> OverSteps:
    rows = tuple(by_step.values())
    return OverSteps(title, tuple(by_step), rows, trajectory([group.sets[row.id] for row in rows]))


def table_rows(each: OverSteps) -> Iterator[list[object]]:
    """Rows for every step and tag."""
    sets = each.sets
    columns = (
        sets.with_last.jaccard, sets.with_last.expected, sets.with_previous.jaccard, sets.with_previous.expected,
        sets.turnover.born, sets.turnover.born_expected, sets.turnover.died, sets.turnover.died_expected,
    )  # fmt: skip
    f1 = {tag: each.f1(tag) for tag in sets.tags}
    for i, (step, row) in enumerate(zip(each.steps, each.rows, strict=True)):
        for t, tag in enumerate(sets.tags):
            values = [f1[tag][i], *(column[t, i].item() for column in columns)]
            cells = ["" if np.isnan(value) else value for value in values]
            yield [each.title, step, row.id, tag, int(sets.size[t, i]), *cells]


def neuron_rows(each: OverSteps) -> Iterator[list[object]]:
    """Rows for every neuron that any step selects; empty if it never settles or dies."""
    for life in each.sets.lives:
        settled, died = ("" if i is None else each.steps[i] for i in (life.settled, life.died))
        yield [each.title, life.tag, life.layer, life.neuron, each.steps[life.born], settled, died, life.n_steps]


def mean_over_tags(compared: Compared) -> tuple[list[float], list[float]]:
    """Mean Jaccard index and its expectation at every step; nan without a tag that has them."""
    observed, expected = (
        [fmean(own) if (own := [v for v in column if not np.isnan(v)]) else np.nan for column in values.T.tolist()]
        for values in (compared.jaccard, compared.expected)
    )
    return observed, expected


def section(each: OverSteps) -> dict[str, object]:
    """The tables of a trajectory for the page of a comparison."""
    last, previous = mean_over_tags(each.sets.with_last), mean_over_tags(each.sets.with_previous)
    turnover, controls = each.sets.turnover, each.controls()
    sums = [getattr(turnover, name).sum(axis=0) for name in ("born", "born_expected", "died", "died_expected")]
    steps = [
        {
            "step": f"{step:,}",
            "id": row.id,
            "accuracies": [_number(row.metrics.get(ACCURACY, np.nan)), *(_number(own[i]) for own in controls.values())],
            "overlaps": [_beside(own[i], chance[i]) for own, chance in (last, previous)],
            "turnover": [f"{sums[0][i]} ({sums[1][i]:.1f})", f"{sums[2][i]} ({sums[3][i]:.1f})"] if i else ["-", "-"],
            "settled": f"{each.settled()[i]:.0%}",
        }
        for i, (step, row) in enumerate(zip(each.steps, each.rows, strict=True))
    ]
    tags = [
        {"tag": tag, "f1": [_number(value) for value in each.f1(tag)], "settled": _step_text(each.half_settled(tag))}
        for tag in each.sets.tags
    ]
    heads = [f"{step:,}" for step in each.steps]
    return {
        "title": each.title, "controls": list(controls), "steps": steps, "tags": tags, "heads": heads,
    }  # fmt: skip


def in_words(each: OverSteps) -> str:
    """A sentence on the first and the last step."""
    (overlap, *_), (chance, *_) = mean_over_tags(each.sets.with_last)
    ends = " and ".join(
        f"{_number(row.metrics.get(ACCURACY, np.nan))} at step {step:,}"
        for step, row in ((each.steps[0], each.rows[0]), (each.steps[-1], each.rows[-1]))
    )
    return (
        f"Over training ({each.title}): accuracy {ends}; the first and the last sets have a mean Jaccard index of "
        f"{_beside(overlap, chance)} (in parentheses: random sets)."
    )


def _beside(value: float, chance: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f} ({chance:.3f})"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"


def _step_text(step: int | None) -> str:
    return "-" if step is None else f"{step:,}"
