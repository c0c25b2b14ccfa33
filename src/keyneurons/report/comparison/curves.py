"""Curves of a comparison of runs: over k, layers and the size of the union."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.metrics import ACCURACY, ADVANTAGE, RANDOM, RANDOM_SPREAD, at_sizes, high, low
from keyneurons.report.comparison.run_table import RunRow
from keyneurons.report.drawing import CONTROL, PALE, figure_width, font_size, in_legend, inches, new_figure
from keyneurons.report.panels import Panel, X

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

X_LABELS = {
    "top_k": "key neurons per tag (k)",
    "layer": "layer (index of the block)",
    "union_size": "key neurons of all tags",
}
Y_LABELS = {ACCURACY: "accuracy on test words", ADVANTAGE: "advantage over random sets"}
# colour-blind safe, from Okabe & Ito without yellow, which is too pale for lines
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX"
MOST_PANELS = 24
NARROWEST = 1.9  # inches of a panel
LABEL_FREE: tuple[tuple[Literal["random", "top_variance"], str, str], ...] = (
    ("random", "--", "as many random neurons"),
    ("top_variance", ":", "as many neurons of highest variance"),
)


def curves(panels: Sequence[Panel], x: X, metric: str, title: str = "") -> Figure:
    """A metric against x with 95 % intervals: one line per method.

    For configurations of several seeds the interval is a band around the mean, and the seeds are
    points. The mean ± std of the random sets of each run is a band. Over the size of the union, the
    accuracies of label-free sets of any size are drawn instead.
    """
    shown = panels[:MOST_PANELS]
    columns = max(1, min(3, len(shown), int(figure_width() / NARROWEST)))
    rows = -(-len(shown) // columns)
    figure = new_figure(1.75 * rows + 0.3, title)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    names = _merged_methods(shown, x)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for i, (axes, panel) in enumerate(zip(grid.flat, shown, strict=False)):
        axes.grid(axis="y", color=PALE, linewidth=0.7)
        axes.set_title("\n".join(wrap(panel.title, int(figure_width() / columns / inches("x")))))
        if x == "union_size":
            _of_any_size(axes, panel)
        for place, name in enumerate(names):
            if name in panel.lines:
                _line(axes, panel.lines[name], x, metric, place, names[name])
        if i + columns >= len(shown):
            axes.set_xlabel(X_LABELS[x])
            axes.tick_params(labelbottom=True)
        if i % columns == 0:
            axes.set_ylabel(Y_LABELS[metric])
    _scale(grid.flat[0], sorted({getattr(row, x) for panel in shown for row in panel.rows}), x)
    if metric == ADVANTAGE:
        for axes in grid.flat[: len(shown)]:
            axes.axhline(0, color="#555555", linewidth=0.8, zorder=1)
    else:
        grid.flat[0].set_ylim(top=1)
    seeds = any(row.replicates for panel in shown for row in panel.rows)
    _legend(figure, grid.flat[: len(shown)], band=x != "union_size", seeds=seeds)
    return figure


def _merged_methods(shown: Sequence[Panel], x: X) -> dict[str, str]:
    """Group methods with identical points: the first method mapped to the names of all."""
    methods = dict.fromkeys(sorted({name for panel in shown for name in panel.lines}))

    def points(method: str) -> tuple[object, ...]:
        return tuple(
            (i, getattr(row, x), *(row.metrics.get(name) for name in (ACCURACY, RANDOM, RANDOM_SPREAD)))
            for i, panel in enumerate(shown)
            for row in panel.lines.get(method, ())
        )

    groups: dict[tuple[object, ...], list[str]] = {}
    for method in methods:
        groups.setdefault(points(method), []).append(method)
    return {names[0]: in_legend(" = ".join(names)) for names in groups.values()}


def _line(axes: Axes, rows: Sequence[RunRow], x: X, metric: str, place: int, label: str) -> None:
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]
    style = ("-", "--", ":")[place // len(COLOURS) % 3]
    at = [getattr(row, x) for row in rows]
    has_seeds = any(row.replicates for row in rows)
    if has_seeds:
        _seeds(axes, rows, x, metric, colour)
    axes.errorbar(
        at,
        [row.metrics[metric] for row in rows],
        None if has_seeds else _errors(rows, metric),
        linestyle=style,
        marker=marker,
        elinewidth=1,
        capsize=2,
        color=colour,
        label=label,
        zorder=3,
    )
    if x != "union_size" and all(RANDOM in row.metrics and RANDOM_SPREAD in row.metrics for row in rows):
        centre = np.array([row.metrics[RANDOM] if metric == ACCURACY else 0.0 for row in rows])
        spread = np.array([row.metrics[RANDOM_SPREAD] for row in rows])
        axes.fill_between(at, centre - spread, centre + spread, color=colour, alpha=0.16, linewidth=0, zorder=2)
        if metric == ACCURACY:
            axes.plot(at, centre, "--", color=colour, linewidth=1, zorder=2)


def _seeds(axes: Axes, rows: Sequence[RunRow], x: X, metric: str, colour: str) -> None:
    """The interval of each mean as a band, and every seed as a point."""
    at, values = [getattr(row, x) for row in rows], np.array([row.metrics[metric] for row in rows])
    below, above = _errors(rows, metric)
    axes.fill_between(at, values - below, values + above, color=colour, alpha=0.32, linewidth=0, zorder=2)
    places = [place for place, row in zip(at, rows, strict=True) for _ in row.runs]
    of_seeds = [one.metrics[metric] for row in rows for one in row.runs]
    axes.scatter(places, of_seeds, s=9, color=colour, edgecolors="white", linewidths=0.4, zorder=4)


def _errors(rows: Sequence[RunRow], metric: str) -> Float[ndarray, "2 runs"]:
    """Distances to the ends of the intervals; 0 for runs without an interval."""
    values = [row.metrics[metric] for row in rows]
    lower = [value - row.metrics.get(low(metric), value) for value, row in zip(values, rows, strict=True)]
    upper = [row.metrics.get(high(metric), value) - value for value, row in zip(values, rows, strict=True)]
    return np.maximum([lower, upper], 0)


def _of_any_size(axes: Axes, panel: Panel) -> None:
    """Accuracies of label-free sets of any size, once for runs of the same layers and words."""
    for which, style, label in LABEL_FREE:
        for points in dict.fromkeys(tuple(sorted(at_sizes(row.metrics, which).items())) for row in panel.rows):
            if points:
                axes.plot(*zip(*points, strict=True), style, color=CONTROL, linewidth=1.3, label=label, zorder=1)


def _scale(axes: Axes, values: Sequence[int], x: X) -> None:
    if x == "union_size" or (x == "top_k" and values[-1] > 4 * values[0]):
        axes.set_xscale("log")
        axes.minorticks_off()
    if x == "union_size":
        least, most = axes.get_xlim()
        values = [size for size in (4**i for i in range(10)) if least <= size <= most] or values
    apart = values if len(values) <= 8 else [*values[:: -(-len(values) // 8)]]
    axes.set_xticks(apart, [str(value) for value in apart])


def _legend(figure: Figure, grid: Iterable[Axes], *, band: bool, seeds: bool) -> None:
    from matplotlib.patches import Patch

    handles = {label: line for axes in grid for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if seeds:
        handles["seeds"] = Patch(color=CONTROL, alpha=0.8, label="95 % interval of the mean over seeds")
    if band:
        handles["band"] = Patch(color=CONTROL, alpha=0.4, label="matched random sets: mean ± std")
    widest = max(inches(str(handle.get_label()), "small") for handle in handles.values()) + 0.5
    columns = max(1, min(len(handles), int(figure.get_figwidth() / widest)))
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + rows * 1.6 * font_size("small") / 72 + 0.1)
    figure.legend(handles=[*handles.values()], loc="outside lower center", ncols=columns)
