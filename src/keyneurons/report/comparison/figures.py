"""Figures of a comparison of runs: agreement of the sets, consensus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.analysis.consensus import Tally
from keyneurons.analysis.set_agreement import SetAgreement
from keyneurons.report.drawing import CONTROL, KEY, PALE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WITH_NUMBERS, BESIDE, WITH_NAMES = 14, 40, 80


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


def _numbers(axes: Axes, matrix: Float[ndarray, "runs runs"]) -> None:
    for i, j in np.ndindex(matrix.shape):
        if not np.isnan(matrix[i, j]):
            colour = "white" if matrix[i, j] > 0.6 else "black"
            text = f"{matrix[i, j]:.3f}".replace("0.", ".")
            axes.text(j, i, text, ha="center", va="center", fontsize=7.5, color=colour)
