"""Figures of a comparison of runs: curves over k and layers, agreement of the sets, consensus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.analysis.consensus import Tally
from keyneurons.analysis.set_agreement import SetAgreement
from keyneurons.metrics import ACCURACY, ADVANTAGE, RANDOM, RANDOM_SPREAD
from keyneurons.report.comparison.run_table import RunRow
from keyneurons.report.drawing import in_legend, new_figure
from keyneurons.report.panels import Panel, X
from keyneurons.report.run.figures import CONTROL, KEY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

X_LABELS = {"top_k": "key neurons per tag (k)", "layer": "layer (index of the block)"}
Y_LABELS = {ACCURACY: "accuracy (share of test words)", ADVANTAGE: "advantage over random sets\n(share of test words)"}
# colour-blind safe, from Okabe & Ito without yellow, which is too pale for lines
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX"
MOST_PANELS, WITH_NUMBERS, BESIDE, WITH_NAMES = 24, 14, 40, 80
PALE = "#e4e4e4"


def curves(panels: Sequence[Panel], x: X, metric: str) -> Figure:
    """A metric against x: one line per method, and the mean ± std of its random sets as a band."""
    shown = panels[:MOST_PANELS]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(max(6.4, 3.7 * columns + 0.4), 2.75 * rows + 0.9)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    names = _merged_methods(shown, x)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for i, (axes, panel) in enumerate(zip(grid.flat, shown, strict=False)):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=PALE, linewidth=0.7)
        axes.set_title("\n".join(wrap(panel.title, 44)), fontsize=9.5)
        for place, name in enumerate(names):
            if name in panel.lines:
                _line(axes, panel.lines[name], x, metric, place, names[name])
        if i + columns >= len(shown):
            axes.set_xlabel(X_LABELS[x])
            axes.tick_params(labelbottom=True)
        if i % columns == 0:
            axes.set_ylabel(Y_LABELS[metric])
    _scale(grid.flat[0], sorted({getattr(row, x) for p in shown for own in p.lines.values() for row in own}), x)
    if metric == ADVANTAGE:
        for axes in grid.flat[: len(shown)]:
            axes.axhline(0, color="#555555", linewidth=0.8, zorder=1)
    _legend(figure, grid.flat[: len(shown)])
    return figure


def agreement_matrices(agreement: SetAgreement, labels: Sequence[str]) -> Figure:
    """Jaccard of the sets of all pairs of runs, beside that of random sets of the same sizes."""
    n = len(labels)
    cell = 0.5 if n <= WITH_NUMBERS else max(0.13 if n <= WITH_NAMES else 0, 5.4 / n)
    margin = 0.6 + 0.085 * max(map(len, labels)) if n <= WITH_NAMES else 0.3
    side, beside = cell * n + 0.3, n <= BESIDE or n > WITH_NAMES
    width, height = (2 * side + margin + 1.2, side + margin) if beside else (side + margin + 1.4, 2 * (side + margin))
    figure = new_figure(max(width, 6.0), max(height, 2.6))
    grid = figure.subplots(*((1, 2) if beside else (2, 1)), sharey=beside)
    matrices = {"key neurons of the runs": agreement.jaccard, "random sets of the same sizes": agreement.expected}
    for i, (axes, (title, matrix)) in enumerate(zip(grid, matrices.items(), strict=True)):
        axes.set_facecolor(PALE)
        axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
        axes.set_title(title, fontsize=10)
        ticks = range(n) if n <= WITH_NAMES else []
        size = 8.5 if n <= WITH_NUMBERS else max(3.0, 58 * cell * 0.8)
        axes.set_xticks(ticks, labels if ticks else [], rotation=90, fontsize=min(8.5, size))
        if not beside or i == 0:
            axes.set_yticks(ticks, labels if ticks else [], fontsize=min(8.5, size))
        if n <= WITH_NUMBERS:
            _numbers(axes, matrix)
    figure.colorbar(grid[0].images[0], ax=grid, label="Jaccard, mean over the tags", shrink=0.75 if beside else 0.4)
    return figure


def tally_figure(tallies: Sequence[Tally]) -> Figure:
    """Number of neurons selected by at least n runs, beside the chance level."""
    figure = new_figure(max(6.0, min(11.0, 0.42 * len(tallies) + 2.5)), 3.3)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    at = [each.runs for each in tallies]
    axes.plot(at, [each.neurons or np.nan for each in tallies], "o-", color=KEY, label="selected by the runs")
    chance = [each.expected if each.expected >= 0.01 else np.nan for each in tallies]
    axes.plot(at, chance, "s--", color=CONTROL, label="expected for random sets")
    axes.set_yscale("log")
    axes.set_xticks(at if len(at) <= 24 else [*range(1, len(at) + 1, -(-len(at) // 12))])
    axes.set_xlabel("selected by at least n runs")
    axes.set_ylabel("key neurons of all tags\n(tag-neuron pairs)")
    axes.grid(axis="y", color=PALE, linewidth=0.7)
    figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9)
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
    axes.plot(
        at,
        [row.metrics[metric] for row in rows],
        style,
        marker=marker,
        markersize=5,
        linewidth=1.8,
        color=colour,
        label=label,
        zorder=3,
    )
    if all(RANDOM in row.metrics and RANDOM_SPREAD in row.metrics for row in rows):
        centre = np.array([row.metrics[RANDOM] if metric == ACCURACY else 0.0 for row in rows])
        spread = np.array([row.metrics[RANDOM_SPREAD] for row in rows])
        axes.fill_between(at, centre - spread, centre + spread, color=colour, alpha=0.16, linewidth=0, zorder=2)
        if metric == ACCURACY:
            axes.plot(at, centre, "--", color=colour, linewidth=1, zorder=2)


def _scale(axes: Axes, values: Sequence[int], x: X) -> None:
    if x == "top_k" and values[-1] > 4 * values[0]:
        axes.set_xscale("log")
        axes.minorticks_off()
    apart = values if len(values) <= 8 else [*values[:: -(-len(values) // 8)]]
    axes.set_xticks(apart, [str(value) for value in apart])


def _legend(figure: Figure, grid: Iterable[Axes]) -> None:
    from matplotlib.patches import Patch

    handles = {label: line for axes in grid for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    band = Patch(color=CONTROL, alpha=0.4, label="matched random sets: mean ± std")
    figure.legend(
        handles=[*handles.values(), band],
        loc="outside upper left",
        ncols=min(4, len(handles) + 1),
        frameon=False,
        fontsize=9,
    )


def _numbers(axes: Axes, matrix: Float[ndarray, "runs runs"]) -> None:
    for i, j in np.ndindex(matrix.shape):
        if not np.isnan(matrix[i, j]):
            colour = "white" if matrix[i, j] > 0.6 else "black"
            text = f"{matrix[i, j]:.3f}".replace("0.", ".")
            axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color=colour)
