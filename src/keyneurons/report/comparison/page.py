"""The HTML page of a comparison of runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keyneurons.artifacts.run_sets import SetGroup, explain_revisions
from keyneurons.report.comparison import depths as by_depth
from keyneurons.report.comparison.best_table import BEST_FOR, CAUTION, ONE_RANKING_NOTE, best_note, best_table
from keyneurons.report.comparison.charts import MOST_RUNS, OVERVIEW, methods_of, page_data
from keyneurons.report.comparison.columns import Column, columns_of, heads
from keyneurons.report.comparison.configurations import NOTE
from keyneurons.report.comparison.curves import MOST_PANELS
from keyneurons.report.comparison.factors import FIRST, short
from keyneurons.report.comparison.language_tables import language_facts
from keyneurons.report.comparison.run_table import RunRow
from keyneurons.report.comparison.saved_figures import CURVES, MOST_TRAJECTORIES, numbered_names
from keyneurons.report.comparison.set_tables import mean_agreement
from keyneurons.report.comparison.significance import significances
from keyneurons.report.comparison.tables import RunComparison, consensus_paths
from keyneurons.report.comparison.trajectories import section
from keyneurons.report.pages import PLOTLY, data_uri, inline_json, render
from keyneurons.report.panels import panels
from keyneurons.report.phrases import by_chance

MOST_PAIRS, MOST_NEURONS = 40, 12
CURVE_TITLES = {
    "accuracy_by_top_k": "Accuracy by number of key neurons per tag",
    "advantage_by_top_k": "Advantage over random sets by number of key neurons per tag",
    "accuracy_by_layer": "Accuracy by layer",
    "advantage_by_layer": "Advantage over random sets by layer",
    "accuracy_by_union_size": "Accuracy by number of key neurons of all tags",
}


def page(comparison: RunComparison, figures: Path | None = None) -> str:
    """Render the page as HTML.

    Args:
        comparison: the comparison.
        figures: folder of the figures that the page embeds: those over steps, by depth and across
            languages.
    """
    columns, data = columns_of(comparison.rows), page_data(comparison)
    return render(
        "compare.html",
        scripts=(PLOTLY, "charts.js"),
        data=inline_json(data),
        methods=data["methods"],
        overview=OVERVIEW if OVERVIEW in data["charts"] else "",
        title=comparison.title,
        source=comparison.source,
        n_runs=len(comparison.rows),
        best=best_table(comparison),
        ranked=best_note(comparison),
        seeds=NOTE if comparison.has_replicates else "",
        caution=CAUTION,
        verdicts=list(map(str, significances(comparison.rows))),
        one_ranking=ONE_RANKING_NOTE if any(row.one_ranking for row in comparison.rows) else "",
        factors=[short(key) for key in comparison.rows[0].factors if key in FIRST],
        settings=[short(key) for key in comparison.rows[0].factors if key not in FIRST],
        columns=heads(columns),
        rows=[_row(comparison, row, columns) for row in comparison.rows],
        curves=_curves(comparison),
        trajectories=list(_trajectories(comparison, figures)),
        depths=_depths(comparison, figures),
        not_compared=comparison.not_compared,
        revisions=explain_revisions(comparison.groups),
        groups=[_group(comparison, i) for i in range(len(comparison.groups))],
        left_out=comparison.left_out,
        languages=_languages(comparison, figures),
        texts=len({file["dataset"]["digest"] for file in comparison.files.values()}),
    )


def _trajectories(comparison: RunComparison, figures: Path | None) -> Iterator[dict[str, Any]]:
    for i, each in enumerate(comparison.trajectories[:MOST_TRAJECTORIES], start=1):
        names = [] if figures is None else [f"trajectory_{i}", f"trajectory_tags_{i}"]
        yield {**section(each), "images": [data_uri(figures / f"{name}.png") for name in names if figures is not None]}


def _depths(comparison: RunComparison, figures: Path | None) -> dict[str, Any]:
    """The section on relative depth; empty unless several models are compared."""
    if not comparison.depths:
        return {}
    images = [] if figures is None else [data_uri(figures / f"{name}.png") for name in ("depth", "depth_tags")]
    return {**by_depth.section(comparison.depths), "images": images}


def _languages(comparison: RunComparison, figures: Path | None) -> list[dict[str, Any]]:
    names = numbered_names("languages", len(comparison.languages))
    images = [None if figures is None else figures / f"{name}.png" for name in names]
    return [
        {**language_facts(group), "overlap": "" if image is None else data_uri(image)}
        for group, image in zip(comparison.languages, images, strict=True)
    ]


def _row(comparison: RunComparison, row: RunRow, columns: Sequence[Column]) -> dict[str, Any]:
    m = row.metrics
    best = [BEST_FOR[best.question] for best in comparison.best if best.run == row.id]
    return {
        "id": row.id,
        "name": row.name,
        "factors": [(value, _is_number(value)) for value in row.values([key for key in row.factors if key in FIRST])],
        "settings": [value for key, value in row.factors.items() if key not in FIRST],
        "cells": [(c.cell(m), c.interval(m), m.get(c.metric, "")) for c in columns],
        "best": best,
        "one_ranking": row.one_ranking,
    }


def _curves(comparison: RunComparison) -> list[dict[str, Any]]:
    figures = []
    for x, metric, name in CURVES:
        if shown := panels(comparison.rows, x, metric):
            figures.append({
                "name": name,
                "title": CURVE_TITLES[name],
                "panels": [panel.title for panel in shown[:MOST_PANELS]],
                "more": max(0, len(shown) - MOST_PANELS),
                "mixed": sorted({short(key) for panel in shown for key in panel.mixed}),
                "methods": methods_of(row for panel in shown for row in panel.rows),
                "of_any_size": x == "union_size",
            })
    return figures


def _group(comparison: RunComparison, i: int) -> dict[str, Any]:
    group = comparison.groups[i]
    facts: dict[str, Any] = {"name": str(group.lineage), "runs": comparison.labels(group), "compared": False}
    if group.agreement is None or group.consensus is None:
        return facts
    pairs, sets = _pairs(comparison, group), next(iter(group.sets.values()))
    tags = [
        {
            "tag": tag,
            "neurons": len(own),
            "expected": by_chance(group.consensus.expected[tag]),
            "names": [(sets.name(n.layer, n.neuron), f"{n.score:.0%}") for n in own[:MOST_NEURONS]],
            "more": max(0, len(own) - MOST_NEURONS),
        }
        for tag, own in group.consensus.tags.items()
    ]
    means = mean_agreement(group)
    return {
        **facts,
        "compared": True,
        "means": None if means is None else (f"{means[0]:.3f}", f"{means[1]:.3f}", means[2]),
        "agreement": f"agreement_{i}" if len(group.sets) <= MOST_RUNS else "",
        "pairs": pairs[:MOST_PAIRS],
        "more_pairs": max(0, len(pairs) - MOST_PAIRS),
        "blank": means is None or means[2] < len(group.sets) * (len(group.sets) - 1) // 2,
        "tally": [(each.runs, each.neurons, by_chance(each.expected)) for each in group.tally],
        "consensus": f"consensus_{i}",
        "tags": tags,
        "total": sum(len(own) for own in group.consensus.tags.values()),
        "total_expected": by_chance(sum(group.consensus.expected.values())),
        "least": "more than half" if comparison.share is None else f"at least {comparison.share:.0%}",
        "file": consensus_paths(comparison)[i],
    }


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
