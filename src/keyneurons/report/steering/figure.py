"""Dose-response curves of a steering: every measure by factor, beside control sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keyneurons.analysis.sentence_bootstrap import Estimate
from keyneurons.pipeline.steering.measures import BITS
from keyneurons.pipeline.steering.study import PERPLEXITY, SteeringResult, perplexity
from keyneurons.report.drawing import CONTROL, KEY, figure_width, legend_below, new_figure
from keyneurons.report.steering.measures import LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 1.5  # height in inches


def figure_of_steering(result: SteeringResult, title: str) -> Figure:
    """One panel for each measure, with every control set; the dotted line is the intact model."""
    columns = 3 if figure_width() > 4 else 2
    rows = -(-len(result.intact) // columns)
    figure = new_figure(rows * PANEL, title)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, name in zip(panels, result.intact, strict=False):
        _panel(axes, result, name)
    for axes in panels[len(result.intact) :]:
        axes.set_axis_off()
    for axes in panels[max(0, len(result.intact) - columns) : len(result.intact)]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("factor")
    legend_below(figure, panels[: len(result.intact)])
    return figure


def _panel(axes: Axes, result: SteeringResult, name: str) -> None:
    convert = perplexity if name == BITS else _unchanged
    factors = sorted(result.doses)
    measures = [result.doses[factor][name] for factor in factors]
    key = [convert(each.key) for each in measures]
    single = [[convert(Estimate(value, value, value)).value for value in each.of_sets] for each in measures]
    axes.plot(factors, single, color=CONTROL, lw=0.6, alpha=0.6, label="single control sets")
    axes.plot(
        factors, [convert(each.sets).value for each in measures], ".-", color=CONTROL, label="mean of control sets"
    )
    axes.plot(factors, [each.value for each in key], ".-", color=KEY, label="key neurons (95 % interval)")
    axes.fill_between(factors, [each.low for each in key], [each.high for each in key], color=KEY, alpha=0.2, lw=0)
    intact = convert(result.intact[name]).value
    axes.axhline(intact, color="black", lw=0.6, ls=":", label="intact model")
    axes.set_title(LABELS[PERPLEXITY if name == BITS else name], loc="left", fontsize="small")
    axes.set_xticks(factors, [f"{factor:g}" for factor in factors])
    if name == BITS and max(*(each.value for each in key), *(value for row in single for value in row)) > 10 * intact:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")


def _unchanged(estimate: Estimate) -> Estimate:
    return estimate
