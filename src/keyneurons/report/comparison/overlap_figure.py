"""Figure of the overlap matrices of several runs and of their differences."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.report.comparison.side_by_side import SideBySide
from keyneurons.report.drawing import PALE, labels_of, new_figure
from keyneurons.report.phrases import describe_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MOST_PAIRS, COLUMNS, WITH_NUMBERS = 6, 3, 10


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
    first = len(matrices) if len(matrices) < COLUMNS else -(-len(matrices) // COLUMNS) * COLUMNS  # of the differences
    rows, side = -(-(first + len(differences)) // COLUMNS), 1.3 + 0.24 * len(compared.tags)
    figure = new_figure(COLUMNS * side + 1.0, rows * side + 0.4)
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    names = labels_of(compared.tags)
    titles = [
        f"{name}: {side.file['method']}, {describe_layers(side.file['layers'])}"
        for name, side in zip(compared.letters, compared.sides, strict=True)
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
    axes.set_title(title, fontsize=10)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    if len(names) <= WITH_NUMBERS:
        for i, j in np.argwhere(~np.isnan(shown)).tolist():
            dark = abs(shown[i, j]) > 0.6 * max(abs(least), most)
            text = f"{shown[i, j]:.2f}".replace("0.", ".")
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    return image
