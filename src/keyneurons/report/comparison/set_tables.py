"""Agreement and consensus of the sets of several runs as rows of tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keyneurons.analysis.consensus import runs_needed
from keyneurons.artifacts.run_sets import SetGroup

if TYPE_CHECKING:
    from keyneurons.report.comparison.tables import RunComparison


def mean_agreement(group: SetGroup) -> tuple[float, float, int] | None:
    """Mean Jaccard, its expectation and the number of pairs of runs with a common layer."""
    if group.agreement is None:
        return None
    n = len(group.sets)
    pairs = [
        (float(group.agreement.jaccard[i, j]), float(group.agreement.expected[i, j]))
        for i in range(n)
        for j in range(i + 1, n)
        if not math.isnan(group.agreement.jaccard[i, j])
    ]
    if not pairs:
        return None
    observed, chance = (sum(each) / len(pairs) for each in zip(*pairs, strict=True))
    return observed, chance, len(pairs)


def agreement_rows(comparison: RunComparison, group: SetGroup) -> Iterator[list[object]]:
    """Rows for each pair of runs with a common layer: the mean over the tags, and every tag."""
    agreement = group.agreement
    if agreement is None:
        return
    labels = comparison.labels(group)
    members = [{tag: {(n.layer, n.neuron) for n in own.tags[tag]} for tag in own} for own in group.sets.values()]
    for i, a in enumerate(agreement.runs):
        for j, b in enumerate(agreement.runs[i + 1 :], start=i + 1):
            if math.isnan(agreement.jaccard[i, j]):
                continue
            pair = [str(group.lineage), a, b, labels[i], labels[j]]
            yield [*pair, "mean of tags", "", "", "", float(agreement.jaccard[i, j]), float(agreement.expected[i, j])]
            for t, tag in enumerate(agreement.tags):
                if not math.isnan(agreement.jaccard_by_tag[t, i, j]):
                    first, second = members[i][tag], members[j][tag]
                    values = float(agreement.jaccard_by_tag[t, i, j]), float(agreement.expected_by_tag[t, i, j])
                    yield [*pair, tag, len(first & second), len(first), len(second), *values]


def consensus_rows(comparison: RunComparison, group: SetGroup) -> Iterator[list[object]]:
    """Rows for each neuron that a run selects: by how many runs, and how many by chance."""
    for each in group.found:
        counts = each.runs, each.of, each.share, each.expected
        agreed = each.runs >= runs_needed(each.of, comparison.share)
        yield [str(group.lineage), each.tag, each.layer, each.neuron, *counts, agreed]
