"""The table of runs: the factors that differ between the runs, and their metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keyneurons.analysis.run_metrics import with_comparison
from keyneurons.metrics import ONE_RANKING, UNION_SIZE
from keyneurons.models.permuted import describe_weights

FIRST = ("choice.model", "choice.dataset", "site", "layer", "choice.selection", "top_k")
NOT_FACTORS = ("tracking.", "cache", "hydra.", "report.")


@dataclass(frozen=True)
class RunRow:
    """A row of the table of runs.

    ``factors`` are the params that differ between the runs, with the values of this run; ``label``
    identifies the run by some of them, with ``*`` if its method has one ranking for all tags.
    ``metrics`` include those of the comparison. ``method``, ``top_k`` and ``layer`` (None for
    several layers) are variables of the curves.
    """

    id: str
    name: str
    label: str
    factors: Mapping[str, str]
    metrics: Mapping[str, float]
    method: str
    top_k: int | None
    layer: int | None

    @property
    def one_ranking(self) -> bool:
        """Whether the method has one ranking for all tags."""
        return bool(self.metrics.get(ONE_RANKING))

    def values(self, keys: Sequence[str]) -> list[str]:
        """The values of some factors, the method with ``*`` for one ranking for all tags."""
        marked = "choice.selection" if "choice.selection" in keys else next(iter(keys), "")
        return [self.factors[key] + (" *" if self.one_ranking and key == marked else "") for key in keys]

    @property
    def union_size(self) -> int | None:
        """Number of key neurons of all tags."""
        size = self.metrics.get(UNION_SIZE)
        return None if size is None else int(size)


@dataclass(frozen=True)
class FinishedRun:
    """A finished run in the tracking store: params as text, metrics as numbers."""

    id: str
    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def run_rows(runs: Sequence[FinishedRun]) -> tuple[RunRow, ...]:
    """The rows of finished runs, sorted by their factors."""
    keys = differing_params([run.params for run in runs])
    identifying = _identifying([run.params for run in runs], keys)
    metrics = with_comparison({run.id: run.metrics for run in runs})
    rows = []
    for run in runs:
        mark = " *" if run.metrics.get(ONE_RANKING) else ""
        factors = {key: run.params.get(key, "") for key in keys}
        rows.append(
            RunRow(
                id=run.id,
                name=run.name,
                label=(describe({key: factors[key] for key in identifying}) or run.name) + mark,
                factors=factors,
                metrics=metrics[run.id],
                method=run.params.get("choice.selection", run.tags.get("selection", "")) + mark,
                top_k=_number(run.params.get("top_k", "")),
                layer=_number(run.tags.get("layer", run.params.get("layer", ""))),
            )
        )
    return _numbered(sorted(rows, key=lambda row: [sortable(value) for value in row.factors.values()]))


def differing_params(params: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """The params that differ between runs, the most informative first.

    Tracking and cache settings are excluded, as are params determined by the option of a group,
    such as the target of ``choice.selection`` and its arguments.
    """
    every = {key for own in params for key in own if not key.startswith(NOT_FACTORS)}
    differ = {key for key in every if len({own.get(key) for own in params}) > 1}
    chosen = {key.removeprefix("choice."): key for key in differ if key.startswith("choice.")}

    def is_independent(key: str) -> bool:
        choice = chosen.get(key.partition(".")[0])
        if choice is None or key == choice:
            return True
        pairs = {(own.get(choice), own.get(key)) for own in params}
        return len(pairs) > len({option for option, _ in pairs})

    kept = sorted(key for key in differ if is_independent(key))
    return (*(key for key in FIRST if key in kept), *(key for key in kept if key not in FIRST))


def _identifying(params: Sequence[Mapping[str, str]], keys: Sequence[str]) -> list[str]:
    """The keys of ``FIRST``, and further keys as long as they distinguish more runs."""

    def n_distinct(chosen: Sequence[str]) -> int:
        return len({tuple(own.get(key) for key in chosen) for own in params})

    chosen = [key for key in keys if key in FIRST]
    for key in keys:
        if key not in FIRST and n_distinct([*chosen, key]) > n_distinct(chosen):
            chosen.append(key)
    return chosen


def short(key: str) -> str:
    """The name of a param in the head of a table."""
    return key.removeprefix("choice.")


def describe(factors: Mapping[str, str]) -> str:
    """Short description of the values of some factors."""
    return ", ".join(_describe(key, value) for key, value in factors.items() if value != "")


def _describe(key: str, value: str) -> str:
    if key in ("choice.selection", "choice.model", "choice.dataset", "site"):
        return value
    if key == "model.random_weights":
        return describe_weights(_number(value))
    name = "k" if key == "top_k" else short(key)
    return f"{name} {value.rstrip('/').rpartition('/')[2]}"  # the last part of a path


def _numbered(rows: Sequence[RunRow]) -> tuple[RunRow, ...]:
    """Number the runs with equal labels."""
    counts, seen = Counter(row.label for row in rows), Counter[str]()
    numbered = []
    for row in rows:
        seen[row.label] += 1
        numbered.append(replace(row, label=f"{row.label} #{seen[row.label]}") if counts[row.label] > 1 else row)
    return tuple(numbered)


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def sortable(value: str) -> tuple[bool, float, str]:
    """Sort key: numbers in numerical order, before all other text."""
    try:
        return (False, float(value), "")
    except ValueError:
        return (True, 0.0, value)
