"""The table of runs: the factors that differ between the runs, and their metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keyneurons.analysis.run_metrics import with_comparison
from keyneurons.config.derived import derived_in
from keyneurons.metrics import ONE_RANKING, UNION_SIZE
from keyneurons.report.comparison.factors import describe, differing_params, identifying, number, sortable


@dataclass(frozen=True)
class RunRow:
    """A row of the table: a run, or the mean of runs that differ in their seed only.

    Those runs are the ``replicates``; the id is that of the first. ``factors`` are the params that
    differ between the rows, with the values of this one; ``label`` identifies the row by some of
    them, with ``*`` if its method has one ranking for all tags. ``metrics`` include those of the
    comparison. ``method``, ``top_k`` and ``layer`` (None for several layers) are variables of the
    curves.
    """

    id: str
    name: str
    label: str
    factors: Mapping[str, str]
    metrics: Mapping[str, float]
    method: str
    top_k: int | None
    layer: int | None
    replicates: tuple[RunRow, ...] = ()

    @property
    def runs(self) -> tuple[RunRow, ...]:
        """The runs of the row: itself, or its replicates."""
        return self.replicates or (self,)

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
        return None if size is None else round(size)


@dataclass(frozen=True)
class FinishedRun:
    """A finished run in the tracking store: params as text, metrics as numbers."""

    id: str
    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def derived(self) -> tuple[str, ...]:
        """Params whose values follow from others."""
        return derived_in(self.tags)


def run_rows(runs: Sequence[FinishedRun]) -> tuple[RunRow, ...]:
    """The rows of finished runs, sorted by their factors."""
    params = [run.params for run in runs]
    keys = differing_params(params, [run.derived for run in runs])
    telling = identifying(params, keys)
    metrics = with_comparison({run.id: run.metrics for run in runs})
    rows = []
    for run in runs:
        mark = " *" if run.metrics.get(ONE_RANKING) else ""
        factors = {key: run.params.get(key, "") for key in keys}
        rows.append(
            RunRow(
                id=run.id,
                name=run.name,
                label=(describe({key: factors[key] for key in telling}) or run.name) + mark,
                factors=factors,
                metrics=metrics[run.id],
                method=run.params.get("choice.selection", run.tags.get("selection", "")) + mark,
                top_k=number(run.params.get("top_k", "")),
                layer=number(run.tags.get("layer", run.params.get("layer", ""))),
            )
        )
    return numbered(sorted(rows, key=lambda row: [sortable(value) for value in row.factors.values()]))


def numbered(rows: Sequence[RunRow]) -> tuple[RunRow, ...]:
    """Number the rows with equal labels."""
    counts, seen = Counter(row.label for row in rows), Counter[str]()
    labelled = []
    for row in rows:
        seen[row.label] += 1
        labelled.append(replace(row, label=f"{row.label} #{seen[row.label]}") if counts[row.label] > 1 else row)
    return tuple(labelled)
