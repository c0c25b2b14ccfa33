"""The HTML page of a comparison of runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from keyneurons.analysis.best_runs import Best
from keyneurons.artifacts.run_sets import SetGroup
from keyneurons.metrics import (
    ACCURACY,
    ADVANTAGE,
    DEV_ACCURACY,
    RANDOM,
    RANDOM_P_VALUE,
    RANDOM_SPREAD,
    UNION_SHARE,
    UNION_SIZE,
)
from keyneurons.report.comparison.figures import MOST_PANELS, WITH_NAMES
from keyneurons.report.comparison.run_table import FIRST, HEADS, RunRow, cell, metric_columns, short
from keyneurons.report.comparison.tables import Drawn, RunComparison, consensus_paths, mean_agreement
from keyneurons.report.pages import data_uri, render
from keyneurons.report.panels import panels
from keyneurons.report.phrases import counted

MOST_PAIRS, MOST_NEURONS = 40, 12
QUESTIONS = {
    "accuracy": "Highest accuracy",
    "dev": "Highest accuracy, chosen on dev words",
    "advantage": "Largest advantage over matched random sets",
    "selectivity": "Best selectivity",
    "overlap": "Smallest overlap between tags",
    "small_union": "Fewest neurons with nearly the largest advantage",
}
BEST_FOR = {
    "accuracy": "accuracy",
    "dev": "dev accuracy",
    "advantage": "advantage",
    "selectivity": "selectivity",
    "overlap": "smallest overlap",
    "small_union": "few neurons",
}
CURVE_TITLES = {
    "accuracy_by_top_k": ("Accuracy by number of key neurons", "top_k"),
    "advantage_by_top_k": ("Advantage over random sets by number of key neurons", "top_k"),
    "accuracy_by_layer": ("Accuracy by layer", "layer"),
    "advantage_by_layer": ("Advantage over random sets by layer", "layer"),
}


def page(comparison: RunComparison, drawn: Drawn) -> str:
    """Render the page as HTML."""
    columns = metric_columns(comparison.rows)
    return render(
        "compare.html",
        title=comparison.title,
        source=comparison.source,
        n_runs=len(comparison.rows),
        best=best_table(comparison),
        factors=[short(key) for key in comparison.rows[0].factors if key in FIRST],
        settings=[short(key) for key in comparison.rows[0].factors if key not in FIRST],
        columns=[(title, HEADS[name]) for name, title in columns.items()],
        rows=[_row(comparison, row, list(columns)) for row in comparison.rows],
        curves=_curves(comparison, drawn),
        not_compared=comparison.not_compared,
        groups=[_group(comparison, i, drawn.groups[i]) for i in range(len(comparison.groups))],
        left_out=comparison.left_out,
        texts=len({file["dataset"]["digest"] for file in comparison.files.values()}),
    )


def best_table(comparison: RunComparison) -> list[dict[str, Any]]:
    """One row per question: the best run, its value, its control, and the candidate runs."""
    return [_best(comparison, best) for best in comparison.best]


def _best(comparison: RunComparison, best: Best) -> dict[str, Any]:
    row = comparison.row(best.run)
    m = row.metrics
    control = f"{m[RANDOM]:.3f} ± {m[RANDOM_SPREAD]:.3f}" if RANDOM in m and RANDOM_SPREAD in m else "-"
    value = f"{best.value:.0f} neurons" if best.metric == UNION_SIZE else cell(best.metric, best.value)
    if best.metric == UNION_SIZE and UNION_SHARE in m:
        value += f" ({m[UNION_SHARE]:.1%})"
    return {
        "question": QUESTIONS[best.question],
        "run": row.label,
        "id": row.id,
        "value": value,
        "accuracy": cell(ACCURACY, m.get(ACCURACY)),
        "random": control,
        "p": cell(RANDOM_P_VALUE, m.get(RANDOM_P_VALUE)),
        "dev": cell(DEV_ACCURACY, m.get(DEV_ACCURACY)),
        "chosen": _chosen(best, comparison),
        "ties": [comparison.row(run).label for run in best.ties],
    }


def _chosen(best: Best, comparison: RunComparison) -> str:
    runs = counted(best.of, "run")
    if best.question == "dev":
        return f"{runs}, on dev words"
    if best.question == "overlap" and best.of < len(comparison.rows):
        return f"the {runs} that beat{'s' if best.of == 1 else ''} random sets (p ≤ .05)"
    if best.question == "overlap":
        return runs
    if best.question == "small_union":
        return f"the {runs} within one std of the best of {len(comparison.rows)}, on test words"
    return f"{runs}, on test words"


def _row(comparison: RunComparison, row: RunRow, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "factors": [(value, _is_number(value)) for key, value in row.factors.items() if key in FIRST],
        "settings": [value for key, value in row.factors.items() if key not in FIRST],
        "cells": [(cell(name, row.metrics.get(name)), row.metrics.get(name, "")) for name in columns],
        "best": [BEST_FOR[best.question] for best in comparison.best if best.run == row.id],
    }


def _curves(comparison: RunComparison, drawn: Drawn) -> list[dict[str, Any]]:
    figures = []
    for name, path in drawn.curves.items():
        title, x = CURVE_TITLES[name]
        metric = ADVANTAGE if name.startswith("advantage") else ACCURACY
        shown = panels(comparison.rows, "top_k" if x == "top_k" else "layer", metric)
        figures.append({
            "title": title,
            "image": data_uri(path),
            "wide": len(shown) > 1,
            "panels": len(shown),
            "more": max(0, len(shown) - MOST_PANELS),
            "titles": [panel.title for panel in shown if panel.title],
            "mixed": sorted({short(key) for panel in shown for key in panel.mixed}),
            "methods": sorted({method for panel in shown for method in panel.lines}),
        })
    return figures


def _group(comparison: RunComparison, i: int, drawn: Mapping[str, Any]) -> dict[str, Any]:
    group = comparison.groups[i]
    facts: dict[str, Any] = {"name": str(group.bound), "runs": comparison.labels(group), "compared": False}
    if group.agreement is None or group.consensus is None:
        return facts
    pairs = _pairs(comparison, group)
    tags = [
        {
            "tag": tag,
            "neurons": len(own),
            "expected": by_chance(group.consensus.expected[tag]),
            "names": [(f"{group.bound.site}.{n.layer}.{n.neuron}", f"{n.score:.0%}") for n in own[:MOST_NEURONS]],
            "more": max(0, len(own) - MOST_NEURONS),
        }
        for tag, own in group.consensus.tags.items()
    ]
    means = mean_agreement(group)
    return {
        **facts,
        "compared": True,
        "means": None if means is None else (f"{means[0]:.3f}", f"{means[1]:.3f}", means[2]),
        "agreement": data_uri(drawn["agreement"]),
        "named": len(group.sets) <= WITH_NAMES,
        "pairs": pairs[:MOST_PAIRS],
        "more_pairs": max(0, len(pairs) - MOST_PAIRS),
        "blank": means is None or means[2] < len(group.sets) * (len(group.sets) - 1) // 2,
        "tally": [(each.runs, each.neurons, by_chance(each.expected)) for each in group.tally],
        "consensus": data_uri(drawn["consensus"]),
        "tags": tags,
        "total": sum(len(own) for own in group.consensus.tags.values()),
        "total_expected": by_chance(sum(group.consensus.expected.values())),
        "least": "more than half" if comparison.share is None else f"at least {comparison.share:.0%}",
        "file": consensus_paths(comparison)[i],
    }


def by_chance(expected: float) -> str:
    """Format an expected number of neurons."""
    if 0 < expected < 0.01:
        return "< 0.01"
    return f"{expected:.0f}" if expected >= 100 else f"{expected:.2f}"


def _pairs(comparison: RunComparison, group: SetGroup) -> list[tuple[str, str, str, str]]:
    """Pairs of runs with a common layer, the most similar first."""
    agreement, labels = group.agreement, comparison.labels(group)
    if agreement is None:
        return []
    n = len(labels)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n) if not math.isnan(agreement.jaccard[i, j])]
    pairs.sort(key=lambda pair: -agreement.jaccard[pair])
    return [
        (labels[i], labels[j], f"{agreement.jaccard[i, j]:.3f}", f"{agreement.expected[i, j]:.3f}") for i, j in pairs
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
