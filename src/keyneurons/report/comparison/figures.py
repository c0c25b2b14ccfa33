"""Figures of a comparison of runs: agreement of the sets, consensus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keyneurons.analysis.consensus import Tally
from keyneurons.analysis.set_agreement import SetAgreement
from keyneurons.report.drawing import CONTROL, KEY, PALE, figure_width, legend_below, new_figure
from keyneurons.report.heatmaps import Scale, heatmaps

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def agreement_matrices(agreement: SetAgreement, labels: Sequence[str], title: str) -> Figure:
    """Jaccard of the sets of all pairs of runs, beside that of random sets of the same sizes."""
    matrices = {"key neurons of the runs": agreement.jaccard, "random sets of the same sizes": agreement.expected}
    apart = ~np.eye(len(labels), dtype=bool)
    shown = {name: np.where(apart, matrix, np.nan) for name, matrix in matrices.items()}
    most = max((float(np.nanmax(each)) for each in shown.values() if not np.isnan(each).all()), default=1.0)
    scale = Scale("Jaccard, mean over the tags", 0.0, most or 1.0)
    return heatmaps(shown, labels, f"{title}\nAgreement of the key neurons of two runs".strip(), scale)


def tally_figure(tallies: Sequence[Tally], title: str) -> Figure:
    """Number of neurons selected by at least n runs, beside the chance level."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(max(1.9, 0.36 * figure_width()), f"{title}\nKey neurons that several runs select".strip())
    axes = figure.add_subplot()
    at = [each.runs for each in tallies]
    axes.plot(at, [each.neurons or np.nan for each in tallies], "o-", color=KEY, label="selected by the runs")
    chance = [each.expected if each.expected >= 0.01 else np.nan for each in tallies]
    axes.plot(at, chance, "s--", color=CONTROL, label="expected for random sets")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("selected by at least n runs")
    axes.set_ylabel("tag-neuron pairs")
    axes.grid(axis="y", color=PALE, linewidth=0.7)
    legend_below(figure, [axes])
    return figure
