"""Runs that differ in their seed only as one row: means, intervals, agreement of their sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from keyneurons.analysis.replicates import replicate_metrics
from keyneurons.analysis.run_metrics import SEED_CHANCE, SEED_JACCARD, SEEDS, with_adjusted
from keyneurons.analysis.set_agreement import SetAgreement
from keyneurons.report.comparison.factors import describe, identifying
from keyneurons.report.comparison.run_table import RunRow, numbered
from keyneurons.report.phrases import counted

SEED = "seed"
NOTE = (
    "Values are means over the seeds with 95 % t intervals of the mean; a verdict is that of more than half of the "
    "seeds, and p-values are merged over them. The intervals cover what the seed changes, not the choice of the text; "
    "a configuration with one seed keeps its interval over the test sentences."
)


def configurations(runs: Sequence[RunRow], agreements: Sequence[SetAgreement]) -> tuple[RunRow, ...]:
    """One row for each configuration: for the runs that differ in their seed only, or for a run.

    A seed that occurs twice belongs to two configurations. p-values of the verdict are adjusted
    over the configurations. If no runs differ in their seed only, the rows are those of the runs.

    Args:
        runs: The rows of the runs.
        agreements: Agreement of the sets of the runs, by group of comparable sets.

    Returns:
        The rows in the order of their first runs.
    """
    groups: dict[tuple[object, ...], list[RunRow]] = {}
    seen = Counter[tuple[object, ...]]()
    for row in runs:
        settings = tuple(value for key, value in row.factors.items() if key != SEED)
        seen[settings, row.factors.get(SEED)] += 1
        groups.setdefault((settings, seen[settings, row.factors.get(SEED)]), []).append(row)
    if len(groups) == len(runs):
        return tuple(runs)
    rows = [_joined(own, agreements) for own in groups.values()]
    metrics = with_adjusted({row.id: row.metrics for row in rows})
    return _labelled([replace(row, metrics=metrics[row.id]) for row in rows])


def _joined(runs: Sequence[RunRow], agreements: Sequence[SetAgreement]) -> RunRow:
    """The row of runs of one configuration, still labelled as the first."""
    first = runs[0]
    factors = {key: value for key, value in first.factors.items() if key != SEED}
    seeds = {SEEDS: float(len(runs))}
    if len(runs) == 1:
        return replace(first, factors=factors, metrics={**first.metrics, **seeds})
    metrics = {**replicate_metrics([row.metrics for row in runs]), **seeds, **_agreement(runs, agreements)}
    return replace(first, factors=factors, metrics=metrics, replicates=tuple(runs))


def _agreement(runs: Sequence[RunRow], agreements: Sequence[SetAgreement]) -> Mapping[str, float]:
    """Mean Jaccard of the sets of two seeds, and that of random sets of the same sizes."""
    ids = {row.id for row in runs}
    for agreement in agreements:
        at = [i for i, run in enumerate(agreement.runs) if run in ids]
        if len(at) < len(ids):
            continue
        pairs = np.triu_indices(len(at), 1)
        shared, chance = (matrix[np.ix_(at, at)][pairs] for matrix in (agreement.jaccard, agreement.expected))
        if not np.isnan(shared).any():  # sets without any neuron have no index
            return {SEED_JACCARD: float(shared.mean()), SEED_CHANCE: float(chance.mean())}
    return {}


def _labelled(rows: Sequence[RunRow]) -> tuple[RunRow, ...]:
    telling = identifying([row.factors for row in rows], list(rows[0].factors))
    labelled = []
    for row in rows:
        named = describe({key: row.factors[key] for key in telling})
        seeds = counted(len(row.runs), "seed")
        label = (f"{named} ({seeds})" if named else seeds) + (" *" if row.one_ranking else "")
        labelled.append(replace(row, label=label, name=label if row.replicates else row.name))
    return numbered(labelled)
