"""Figures of several models by relative depth: curves of all tags, and maps of tags by depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keyneurons.metrics import ACCURACY, RANDOM, high, low
from keyneurons.report.comparison.curves import COLOURS, MARKERS
from keyneurons.report.comparison.depths import OF_ALL_TAGS, OF_TAG, OverDepth, of_tag
from keyneurons.report.drawing import PALE, figure_width, font_size, labels_of, legend_below, new_figure
from keyneurons.report.heatmaps import without_zero

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEPTH_LABEL = "relative depth (layer / layers)"
MOST_MAPS = 4  # models in the figure of tags


def depth_figure(found: Sequence[OverDepth]) -> Figure:
    """Every measure of all tags against relative depth, one line for each model."""
    names = [name for name in OF_ALL_TAGS if any(each.values(name) for each in found)]
    rows = -(-len(names) // 2)
    figure = new_figure(2.0 * rows + 0.3)
    grid = figure.subplots(rows, min(2, len(names)), squeeze=False, sharex=True)
    for axes, name in zip(grid.flat, names, strict=False):
        for place, each in enumerate(found):
            _line(axes, each, name, place)
        axes.set_ylabel(OF_ALL_TAGS[name])
        axes.grid(axis="y", color=PALE, linewidth=0.7)
        axes.set_xlim(-0.03, 1)
        if name == ACCURACY:
            axes.set_ylim(top=1)  # after its lines, since it fixes the lower end too
    for axes in grid.flat[len(names) :]:
        axes.set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel(DEPTH_LABEL)
    legend_below(figure, [grid.flat[0]])
    return figure


def _line(axes: Axes, each: OverDepth, name: str, place: int) -> None:
    values = each.values(name)
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    ends = [each.values(end) for end in (low(name), high(name))]
    errors = [[max(0.0, abs(value - own.get(depth, value))) for depth, value in values.items()] for own in ends]
    style: dict[str, Any] = {"marker": marker, "color": colour, "elinewidth": 1, "capsize": 2, "label": each.title}
    axes.errorbar([*values], [*values.values()], errors, **style)
    if name == ACCURACY and (chance := each.values(RANDOM)):
        axes.plot([*chance], [*chance.values()], "--", color=colour, linewidth=0.9, label=f"{each.title}: random sets")


def depth_tags_figure(found: Sequence[OverDepth]) -> Figure:
    """Measures of every tag by relative depth, a row of maps for each model."""
    shown = found[:MOST_MAPS]
    tags = sorted({tag for each in shown for tag in each.tags})
    labels, height = labels_of(tags), max(1.2, 0.15 * len(tags))
    figure = new_figure((height + 0.6) * len(shown))
    grid = figure.subplots(len(shown), len(OF_TAG), squeeze=False, sharey=True)
    for row, each in zip(grid, shown, strict=True):
        for axes, (measure, label) in zip(row, OF_TAG.items(), strict=True):
            columns = [each.values(of_tag(measure, tag)[0]) for tag in tags]
            _map(axes, np.array([[own.get(depth, np.nan) for depth in each.depths] for own in columns]))
            axes.set_title(f"{each.title}\n{label}", fontsize=font_size("small"))
            axes.set_xticks(range(len(each.depths)), [without_zero(depth, 2) for depth in each.depths])
            axes.set_yticks(range(len(tags)), labels, fontsize=min(font_size("small"), 72 * 0.8 * height / len(tags)))
    for axes in grid[-1]:
        axes.set_xlabel(DEPTH_LABEL)
    return figure


def _map(axes: Axes, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """A map whose numbers are in its cells; the largest value of every tag is bold."""
    axes.set_facecolor(PALE)
    axes.spines[:].set_visible(False)
    axes.imshow(np.ma.masked_invalid(values), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    if figure_width() / 2 / values.shape[1] < 0.25:
        return
    for i, j in np.ndindex(values.shape):
        if not np.isnan(value := float(values[i, j])):
            weight = "bold" if value == np.nanmax(values[i]) else "normal"
            colour = "white" if value > 0.6 else "black"
            style: dict[str, Any] = {"fontsize": 0.75 * font_size("small"), "color": colour, "fontweight": weight}
            axes.text(j, i, without_zero(value, 2), ha="center", va="center", **style)
