"""Figure of the overlap matrices of several runs and of their differences."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.report.comparison.side_by_side import SideBySide
from keyneurons.report.drawing import PALE, figure_width, font_size, labels_of, new_figure, room_for, wrapped
from keyneurons.report.phrases import describe_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MOST_PAIRS, WITH_NUMBERS = 6, 10
NARROWEST = 1.9  # inches of a matrix with its names


def overlap_figure(compared: SideBySide) -> Figure:
    """Jaccard of the sets of every two tags in each run, and the difference of each pair of runs.

    The diagonals, where it is 1, are blank. Of many runs only the first pairs are drawn.
    """
    matrices = {name: own.jaccard for name, own in zip(compared.letters, compared.overlaps, strict=True)}
    pairs = [*combinations(matrices, 2)][:MOST_PAIRS]
    differences = {f"{b} - {a}": matrices[b] - matrices[a] for a, b in pairs}
    off = ~np.eye(len(compared.tags), dtype=bool)
    most = max((float(np.nanmax(own[off], initial=0)) for own in matrices.values()), default=0) or 1.0
    widest = max((float(np.nanmax(np.abs(own[off]), initial=0)) for own in differences.values()), default=0) or 1.0
    columns = max(1, min(3, int(figure_width() / NARROWEST)))
    first = len(matrices) if len(matrices) < columns else -(-len(matrices) // columns) * columns  # of the differences
    rows, side = -(-(first + len(differences)) // columns), (figure_width() - 0.9) / columns
    figure = new_figure(rows * (side + 0.3) + 0.2, "Overlap of the key neurons of two tags")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    names = labels_of(compared.tags)
    titles = [
        "\n".join(wrapped(f"{name}: {own.file['method']}, {describe_layers(own.file['layers'])}", side))
        for name, own in zip(compared.letters, compared.sides, strict=True)
    ]
    drawn = [
        _draw(axes, title, own, "Blues", 0.0, most, names)
        for axes, title, own in zip(grid.flat, titles, matrices.values(), strict=False)
    ]
    figure.colorbar(drawn[0], ax=[image.axes for image in drawn], label="Jaccard", shrink=0.8)
    drawn = [
        _draw(axes, *own, "RdBu_r", -widest, widest, names)
        for axes, own in zip(grid.flat[first:], differences.items(), strict=False)
    ]
    figure.colorbar(drawn[0], ax=[image.axes for image in drawn], label="difference of Jaccard", shrink=0.8)
    return figure


def _draw(
    axes: Axes,
    title: str,
    matrix: Float[ndarray, "tags tags"],
    colours: str,
    least: float,
    most: float,
    names: list[str],
) -> AxesImage:
    axes.set_visible(True)
    axes.set_facecolor(PALE)
    shown = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix)
    image = axes.imshow(shown, cmap=colours, vmin=least, vmax=most)
    axes.set_title(title)
    side = max(0.5, figure_width() / max(1, min(3, int(figure_width() / NARROWEST))) - room_for(names) - 0.3)
    size = max(3.0, min(font_size("small"), 72 * 0.8 * side / len(names)))
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    if len(names) <= WITH_NUMBERS:
        for i, j in np.argwhere(~np.isnan(shown)).tolist():
            dark = abs(shown[i, j]) > 0.6 * max(abs(least), most)
            text = f"{shown[i, j]:.2f}".replace("0.", ".")
            axes.text(j, i, text, ha="center", va="center", fontsize=min(size, 5.5), color="white" if dark else "black")
    return image
