"""Interactive figures of a comparison of runs, as data for the script of its page."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keyneurons.analysis.consensus import Tally
from keyneurons.artifacts.run_sets import SetGroup
from keyneurons.metrics import ACCURACY, RANDOM, RANDOM_SPREAD, at_sizes, high, low
from keyneurons.report.comparison.columns import columns_of
from keyneurons.report.comparison.curves import LABEL_FREE, MOST_PANELS, X_LABELS, Y_LABELS
from keyneurons.report.comparison.run_table import RunRow
from keyneurons.report.comparison.saved_figures import CURVES
from keyneurons.report.comparison.tables import RunComparison
from keyneurons.report.panels import Panel, X, panels

MOST_RUNS = 200  # in a heatmap
OVERVIEW = "overview"
DASHES = {"--": "dash", ":": "dot"}


def page_data(comparison: RunComparison) -> dict[str, Any]:
    """The charts and heatmaps of a page by name, and the runs that a click selects.

    All text is escaped for Plotly, which reads some HTML.
    """
    rows = comparison.rows
    curves = {name: curve(panels(rows, x, metric), x, metric) for x, metric, name in CURVES}
    charts = {OVERVIEW: overview(rows), **curves}
    charts |= {f"consensus_{i}": _tally(group.tally) for i, group in enumerate(comparison.groups) if group.tally}
    return {
        "methods": methods_of(rows),
        "labels": {row.id: row.label for row in rows},
        "rows": {run.id: row.id for row in rows for run in row.runs},
        "charts": {name: chart for name, chart in charts.items() if chart["panels"]},
        "heatmaps": {
            f"agreement_{i}": _heatmap(group, comparison.labels(group))
            for i, group in enumerate(comparison.groups)
            if group.agreement is not None and len(group.sets) <= MOST_RUNS
        },
    }


def methods_of(rows: Iterable[RunRow]) -> list[str]:
    """The methods in the order of their colours."""
    return sorted({row.method for row in rows})


def overview(rows: Sequence[RunRow]) -> dict[str, Any]:
    """Every run: its accuracy against that of matched random sets."""
    drawn = [row for row in rows if {ACCURACY, RANDOM} <= row.metrics.keys()]
    tips = _tips(drawn)
    lines = [
        {"method": method, "marks": True, **_points([row for row in drawn if row.method == method], RANDOM, tips)}
        for method in methods_of(drawn)
    ]
    ends = [min((row.metrics[name] for row in drawn for name in (RANDOM, ACCURACY)), default=0.0), 1.0]
    equal = {"label": "equal accuracy", "dash": "dot", "x": ends, "y": ends}
    return {
        "x": {"title": "accuracy of matched random sets"},
        "y": {"title": Y_LABELS[ACCURACY], "range": _range(lines, top=1.0)},
        "panels": [{"title": "", "lines": lines, "references": [equal]}] if drawn else [],
    }


def curve(shown: Sequence[Panel], x: X, metric: str) -> dict[str, Any]:
    """A metric against x, in panels: one line for each method, with intervals and random sets."""
    shown = shown[:MOST_PANELS]
    tips = _tips([row for panel in shown for row in panel.rows])
    drawn: list[dict[str, Any]] = [
        {
            "title": panel.title,
            "lines": [_line(method, own, x, metric, tips) for method, own in panel.lines.items()],
            "references": _of_any_size(panel) if x == "union_size" else [],
        }
        for panel in shown
    ]
    values = sorted({getattr(row, x) for panel in shown for row in panel.rows})
    is_log = x == "union_size" or (x == "top_k" and bool(values) and values[-1] > 4 * values[0])
    lines = [line for panel in drawn for line in panel["lines"]]
    top = 1.0 if metric == ACCURACY else None
    return {
        "x": {"title": X_LABELS[x], "log": is_log, "ticks": None if x == "union_size" else _thinned(values)},
        "y": {"title": Y_LABELS[metric].replace("\n", " "), "range": _range(lines, top=top), "zero": top is None},
        "panels": drawn,
    }


def _line(method: str, rows: Sequence[RunRow], x: X, metric: str, tips: Mapping[str, str]) -> dict[str, Any]:
    line = {"method": method, "marks": False, **_points(rows, x, tips, metric)}
    if x != "union_size" and all({RANDOM, RANDOM_SPREAD} <= row.metrics.keys() for row in rows):
        centre = [row.metrics[RANDOM] if metric == ACCURACY else 0.0 for row in rows]
        spread = [row.metrics[RANDOM_SPREAD] for row in rows]
        line["band"] = {
            "low": _rounded(c - s for c, s in zip(centre, spread, strict=True)),
            "high": _rounded(c + s for c, s in zip(centre, spread, strict=True)),
            "centre": _rounded(centre) if metric == ACCURACY else None,
        }
    return line


def _points(rows: Sequence[RunRow], x: str, tips: Mapping[str, str], metric: str = ACCURACY) -> dict[str, Any]:
    """The points of rows with their intervals, and those of their single seeds."""

    def at(row: RunRow) -> float:
        return row.metrics[x] if x in row.metrics else float(getattr(row, x))

    seeds = [(at(row), run, row.id) for row in rows for run in row.replicates if metric in run.metrics]
    return {
        "ids": [row.id for row in rows],
        "x": _rounded(map(at, rows)),
        "y": _rounded(row.metrics[metric] for row in rows),
        "low": _rounded(row.metrics.get(low(metric), row.metrics[metric]) for row in rows),
        "high": _rounded(row.metrics.get(high(metric), row.metrics[metric]) for row in rows),
        "tips": [tips[row.id] for row in rows],
        "seeds": {
            "ids": [row for _, _, row in seeds],
            "x": _rounded(place for place, _, _ in seeds),
            "y": _rounded(run.metrics[metric] for _, run, _ in seeds),
            "tips": [escaped(run.label) for _, run, _ in seeds],
        },
    }


def _of_any_size(panel: Panel) -> list[dict[str, Any]]:
    """Accuracies of label-free sets of any size, once for runs of the same layers and words."""
    references = []
    for which, style, label in LABEL_FREE:
        for points in dict.fromkeys(tuple(sorted(at_sizes(row.metrics, which).items())) for row in panel.rows):
            if points:
                sizes, values = zip(*points, strict=True)
                references.append({"label": label, "dash": DASHES[style], "x": sizes, "y": _rounded(values)})
    return references


def _tally(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Number of neurons that at least n runs select, beside the chance level."""
    at = [each.runs for each in tallies]
    chance = [each.expected if each.expected >= 0.01 else None for each in tallies]
    selected: list[float | None] = [each.neurons or None for each in tallies]
    series = {"selected by the runs": ("solid", selected)}
    series["expected for random sets"] = ("dash", [None if each is None else round(each, 3) for each in chance])
    references = [{"label": label, "dash": dash, "x": at, "y": y, "marks": True} for label, (dash, y) in series.items()]
    return {
        "x": {"title": "selected by at least n runs", "ticks": _thinned(at)},
        "y": {"title": "tag-neuron pairs", "log": True},
        "panels": [{"title": "", "lines": [], "references": references}],
    }


def _heatmap(group: SetGroup, labels: Sequence[str]) -> dict[str, Any]:
    """Jaccard of the sets of every two runs, and its expectation by chance."""
    assert group.agreement is not None
    jaccard, expected = group.agreement.jaccard, group.agreement.expected
    n = len(labels)
    apart = [[None if i == j else _number(jaccard[i, j]) for j in range(n)] for i in range(n)]
    return {
        "ids": list(group.sets),
        "labels": [escaped(label) for label in labels],
        "values": apart,
        "chance": [[_number(expected[i, j]) for j in range(n)] for i in range(n)],
        "most": max((value for row in apart for value in row if value is not None), default=1.0) or 1.0,
        "title": "Jaccard, mean over the tags",
    }


def _tips(rows: Sequence[RunRow]) -> dict[str, str]:
    """The text beside the pointer: label and main metrics of each row."""
    columns = [column for column in columns_of(rows) if column.short]
    return {
        row.id: "<br>".join([
            f"<b>{escaped(row.label)}</b>",
            *(escaped(f"{c.head}: {c.with_interval(row.metrics)}") for c in columns if c.metric in row.metrics),
        ])
        for row in rows
    }


def escaped(text: str) -> str:
    """Text without markup for Plotly."""
    return html.escape(text, quote=False)


def _range(lines: Iterable[Mapping[str, Any]], *, top: float | None) -> list[float]:
    """Limits of the vertical axis that include all intervals and bands."""
    values = [value for line in lines for own in (line, line.get("band") or {}) for value in own.get("low", ())]
    values += [value for line in lines for own in (line, line.get("band") or {}) for value in own.get("high", ())]
    least, most = min(values, default=0.0), max(values, default=1.0) if top is None else top
    margin = 0.05 * (most - least) or 0.05
    return [round(least - margin, 4), round(most + margin if top is None else most + margin / 4, 4)]


def _thinned(values: Sequence[int]) -> list[int]:
    return [*values[:: max(1, -(-len(values) // 8))]]


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 5) for value in values]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 3)
