"""Heatmaps of matrices over names, such as tags by tags."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from keyneurons.report.drawing import PALE, figure_width, font_size, inches, labels_of, new_figure, room_for, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST_CELL, SMALLEST_SIDE, BAR = 0.45, 1.2, 0.95  # inches
SMALLEST_FONT = 3.0


@dataclass(frozen=True)
class Scale:
    """Colours of values from ``low`` to ``high``, and the label of their bar."""

    label: str
    low: float = 0.0
    high: float = 1.0
    colours: str = "Blues"

    def is_dark(self, value: float) -> bool:
        """Whether the colour of a value needs white text."""
        largest = max(abs(self.low), abs(self.high))
        return abs(value) > 0.6 * largest


def heatmap(
    values: Shaped[ndarray, "names names"],
    names: Sequence[str],
    title: str,
    scale: Scale,
    texts: Shaped[ndarray, "names names"],
    axis_labels: tuple[str, str] = ("", ""),
) -> Figure:
    """Draw a square matrix as wide as the figure; cells without a value are grey.

    Args:
        values: The matrix; nan for no value.
        names: Names of rows and columns.
        title: Title of the figure.
        scale: Colours of the values.
        texts: Text of each cell, drawn if the cells are large enough.
        axis_labels: Labels of columns and rows.

    Returns:
        The figure.
    """
    labels = labels_of(names)
    side = _side(len(labels), figure_width() - room_for(labels) - BAR - (0.2 if axis_labels[1] else 0.0))
    figure = new_figure(side + room_for(labels) + (0.4 if axis_labels[0] else 0.2), title)
    figure.set_layout_engine("compressed")
    axes = figure.add_subplot()
    _cells(axes, values, labels, scale, texts, side)
    axes.set_xlabel(axis_labels[0])
    axes.set_ylabel(axis_labels[1])
    _bar(figure, axes.images[0], axes, scale.label, side)
    return figure


def heatmaps(
    matrices: Mapping[str, Shaped[ndarray, "names names"]],
    names: Sequence[str],
    title: str,
    scale: Scale,
    digits: int = 2,
) -> Figure:
    """Draw several square matrices over the same names, two in a row if their cells remain legible.

    Args:
        matrices: The matrices by their titles; nan for no value.
        names: Names of rows and columns.
        title: Title of the figure.
        scale: Colours of the values.
        digits: Decimals of the values in the cells.

    Returns:
        The figure.
    """
    labels, free = labels_of(names), figure_width() - BAR
    columns = 2 if len(matrices) > 1 and (free - room_for(labels)) / 2 / len(labels) > 0.04 else 1
    rows, side = -(-len(matrices) // columns), _side(len(labels), (free - room_for(labels)) / columns - 0.1)
    titles = {name: wrapped(name, side if columns > 1 else side + 1.0) for name in matrices}
    above = 0.15 * max(map(len, titles.values())) + 0.2
    figure = new_figure(rows * (side + above) + room_for(labels), title)
    figure.set_layout_engine("compressed")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes, (name, matrix) in zip(grid.flat, matrices.items(), strict=False):
        _cells(axes, matrix, labels, scale, _numbers(matrix, digits), side)
        axes.set_title("\n".join(titles[name]))
    for axes in grid.flat[len(matrices) :]:
        axes.set_visible(False)
    _bar(figure, grid.flat[0].images[0], grid, scale.label, rows * side)
    return figure


def by_layer(
    counts: Shaped[ndarray, "names layers"], names: Sequence[str], layers: Sequence[int], title: str, label: str
) -> Figure:
    """Draw counts by layer, one row per name."""
    from matplotlib.ticker import MaxNLocator

    labels, row = labels_of(names), 0.16 if len(names) <= 30 else 0.1
    height = max(0.8, row * len(labels))
    figure = new_figure(height + 0.5, title)
    axes = figure.add_subplot()
    image: Any = axes.imshow(counts, cmap="Blues", aspect="auto", vmin=0)
    length = figure_width() - room_for(labels) - BAR
    step = math.ceil(len(layers) * inches("00 ", "small") / length)
    axes.set_xticks(range(0, len(layers), step), [str(layer) for layer in layers[::step]])
    axes.set_yticks(range(len(labels)), labels, fontsize=min(font_size("small"), 72 * 0.8 * row))
    axes.set_xlabel("layer")
    axes.spines[:].set_visible(False)
    bar = _bar(figure, image, axes, label, height)
    bar.locator = MaxNLocator(integer=True, nbins=max(2, min(9, int(height / 0.3))))
    return figure


def _bar(figure: Figure, image: Any, axes: Any, label: str, height: float) -> Any:
    """Add a colour bar with its label in lines that are not longer than the bar."""
    return figure.colorbar(image, ax=axes, label="\n".join(wrapped(label, 0.8 * height)), shrink=0.8)


def _side(n: int, most: float) -> float:
    return max(SMALLEST_SIDE, min(most, LARGEST_CELL * n))


def _cells(
    axes: Axes,
    values: Shaped[ndarray, "names names"],
    labels: Sequence[str],
    scale: Scale,
    texts: Shaped[ndarray, "names names"],
    side: float,
) -> None:
    cell = 72 * side / len(labels)  # in points
    axes.set_facecolor(PALE)
    axes.spines[:].set_visible(False)
    axes.imshow(np.ma.masked_invalid(values), cmap=scale.colours, vmin=scale.low, vmax=scale.high)
    step = math.ceil(SMALLEST_FONT / (0.8 * cell))
    size = max(SMALLEST_FONT, min(font_size("small"), 0.8 * cell))
    axes.set_xticks(range(0, len(labels), step), labels[::step], rotation=90, fontsize=size)
    axes.set_yticks(range(0, len(labels), step), labels[::step], fontsize=size)
    axes.tick_params(length=min(2.5, cell / 5))
    longest = max(len(str(text)) for text in texts.flat)
    fits = min(font_size("small"), 0.95 * cell / max(1.0, 0.6 * longest))
    if fits >= SMALLEST_FONT:
        for i, j in np.ndindex(values.shape):
            colour = "white" if scale.is_dark(float(values[i, j])) else "black"
            text = axes.text(j, i, str(texts[i, j]), ha="center", va="center", fontsize=fits, color=colour)
            text.set_in_layout(False)


def _numbers(matrix: Shaped[ndarray, "names names"], digits: int) -> Shaped[ndarray, "names names"]:
    """Values without the leading zero; empty for nan."""
    return np.array([["" if np.isnan(value) else without_zero(value, digits) for value in row] for row in matrix])


def without_zero(value: float, digits: int) -> str:
    """A number without the zero before its point: ``.25``, ``-.25``, ``1``."""
    rounded = round(float(value), digits) + 0.0  # avoids -0
    return f"{rounded:.{digits}f}".replace("0.", ".", 1) if 0 < abs(rounded) < 1 else f"{rounded:g}"
