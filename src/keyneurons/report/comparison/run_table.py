"""The table of many runs: what differs between what they were asked, and what they found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keyneurons.metrics import (
    ACCURACY,
    ADVANTAGE,
    DEV_ACCURACY,
    MEAN_COEFFICIENT,
    MEAN_JACCARD,
    RANDOM,
    RANDOM_P_VALUE,
    RANDOM_SPREAD,
    SELECTIVITY,
    UNION_SHARE,
    UNION_SIZE,
)

FIRST = ("choice.model", "choice.dataset", "site", "layer", "choice.selection", "top_k")
NOT_ASKED = ("tracking.", "cache", "hydra.")
LESION, LESION_P = "lesion/diagonal_advantage", "lesion/diagonal_p_value"
METRICS = {
    ACCURACY: "accuracy",
    RANDOM: "random sets",
    ADVANTAGE: "advantage",
    RANDOM_P_VALUE: "p",
    SELECTIVITY: "selectivity",
    UNION_SHARE: "union share",
    MEAN_JACCARD: "overlap",
    LESION: "lesion advantage",
    LESION_P: "lesion p",
    DEV_ACCURACY: "dev accuracy",
}
HEADS = {
    ACCURACY: "share of the test words tagged right by a linear probe on the key neurons of all tags",
    RANDOM: "mean accuracy of random sets of as many neurons in every layer",
    ADVANTAGE: "accuracy less the mean of the random sets",
    RANDOM_P_VALUE: "of the accuracy among the random sets",
    SELECTIVITY: "accuracy less that on a control task with a random tag for each word type",
    UNION_SHARE: "share of the neurons read that are key neurons of some tag",
    MEAN_JACCARD: "mean Jaccard of the sets of two tags",
    MEAN_COEFFICIENT: "mean overlap coefficient of the sets of two tags",
    LESION: "bits a word by which lesions hurt a tag's own words more than others",
    LESION_P: "of the lesion advantage",
    DEV_ACCURACY: "accuracy on the dev words, which also stopped the training",
}
MORE_METRICS = (RANDOM_SPREAD, UNION_SIZE, MEAN_COEFFICIENT)  # in the CSV only


@dataclass(frozen=True)
class RunRow:
    """A run in the table: ``asked`` are its values of the params that differ, ``label`` those that tell it apart.

    ``method``, ``top_k`` and ``layer`` (None where it read several) are what curves run over.
    """

    id: str
    name: str
    label: str
    asked: Mapping[str, str]
    metrics: Mapping[str, float]
    method: str
    top_k: int | None
    layer: int | None


@dataclass(frozen=True)
class FinishedRun:
    """What the store keeps of a run: params as text, metrics as numbers."""

    id: str
    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def run_rows(runs: Sequence[FinishedRun]) -> tuple[RunRow, ...]:
    """The rows of finished runs, ordered by what differs, so that alike ones stand beside one another."""
    keys = differing_params([run.params for run in runs])
    telling = _telling([run.params for run in runs], keys)
    rows = []
    for run in runs:
        asked = {key: run.params.get(key, "") for key in keys}
        rows.append(
            RunRow(
                id=run.id,
                name=run.name,
                label=told({key: asked[key] for key in telling}) or run.name,
                asked=asked,
                metrics=run.metrics,
                method=run.params.get("choice.selection", run.tags.get("selection", "")),
                top_k=_number(run.params.get("top_k", "")),
                layer=_number(run.tags.get("layer", run.params.get("layer", ""))),
            )
        )
    return _apart(sorted(rows, key=lambda row: [sortable(value) for value in row.asked.values()]))


def differing_params(params: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """The params that differ between runs, the most telling first.

    Where runs go and where they cache is left out, and so is what follows from the option chosen in a group: the target
    of ``choice.selection`` and the arguments that only differ because the option does.
    """
    every = {key for own in params for key in own if not key.startswith(NOT_ASKED)}
    differ = {key for key in every if len({own.get(key) for own in params}) > 1}
    chosen = {key.removeprefix("choice."): key for key in differ if key.startswith("choice.")}

    def says_more(key: str) -> bool:
        choice = chosen.get(key.partition(".")[0])
        if choice is None or key == choice:
            return True
        pairs = {(own.get(choice), own.get(key)) for own in params}
        return len(pairs) > len({option for option, _ in pairs})

    kept = sorted(key for key in differ if says_more(key))
    return (*(key for key in FIRST if key in kept), *(key for key in kept if key not in FIRST))


def _telling(params: Sequence[Mapping[str, str]], keys: Sequence[str]) -> list[str]:
    """Those of the keys that tell the runs apart: the first ones, and others while they tell apart more of them."""

    def apart(chosen: Sequence[str]) -> int:
        return len({tuple(own.get(key) for key in chosen) for own in params})

    chosen = [key for key in keys if key in FIRST]
    for key in keys:
        if key not in FIRST and apart([*chosen, key]) > apart(chosen):
            chosen.append(key)
    return chosen


def short(key: str) -> str:
    """A param's name as a table's head has it."""
    return key.removeprefix("choice.")


def told(asked: Mapping[str, str]) -> str:
    """Values of params in a few words."""
    return ", ".join(_told(key, value) for key, value in asked.items() if value != "")


def metric_columns(rows: Sequence[RunRow]) -> dict[str, str]:
    """The metrics that any run has, with the heads of their columns; the coefficient of overlap in want of Jaccard."""
    known = {name for row in rows for name in row.metrics}
    columns = {name: title for name, title in METRICS.items() if name in known}
    if MEAN_JACCARD not in known and MEAN_COEFFICIENT in known:
        columns[MEAN_COEFFICIENT] = "overlap"
    return columns


def cell(name: str, value: float | None) -> str:
    """A metric as a person reads it."""
    if value is None:
        return "-"
    if name == UNION_SHARE:
        return f"{value:.1%}"
    return f"{value:+.3f}" if name in (ADVANTAGE, SELECTIVITY, LESION) else f"{value:.3f}"


def _told(key: str, value: str) -> str:
    if key in ("choice.selection", "choice.model", "choice.dataset", "site"):
        return value
    if key == "model.random_weights":
        return "random weights" if value == "True" else "trained weights"
    name = "k" if key == "top_k" else short(key)
    return f"{name} {value.rstrip('/').rpartition('/')[2]}"  # of a path its last part


def _apart(rows: Sequence[RunRow]) -> tuple[RunRow, ...]:
    """Runs that were asked the same get numbers."""
    alike, seen = Counter(row.label for row in rows), Counter[str]()
    numbered = []
    for row in rows:
        seen[row.label] += 1
        numbered.append(replace(row, label=f"{row.label} #{seen[row.label]}") if alike[row.label] > 1 else row)
    return tuple(numbered)


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def sortable(value: str) -> tuple[bool, float, str]:
    """A key that puts numbers in their order, before all that is none."""
    try:
        return (False, float(value), "")
    except ValueError:
        return (True, 0.0, value)
