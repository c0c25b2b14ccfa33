"""Figures of a trajectory: curves over the steps of a training, and maps of tags by steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.metrics import ACCURACY, RANDOM, RANDOM_SPREAD, high, low
from keyneurons.report.comparison.trajectories import OverSteps, mean_over_tags
from keyneurons.report.drawing import CONTROL, KEY, PALE, figure_width, font_size, inches, labels_of, new_figure
from keyneurons.report.heatmaps import without_zero

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = ("-.", ":", "--", (0, (1, 4)))
OTHER = "#d55e00"
STEP_LABEL = "step of training (evenly spaced)"


def trajectory_figure(each: OverSteps) -> Figure:
    """Accuracy with its controls, overlap of the sets, births and deaths, and settled neurons."""
    figure = new_figure(4.6, each.title)
    grid = figure.subplots(2, 2, sharex=True)
    accuracy, overlap, turnover, settled = grid.flat
    _accuracy(accuracy, each)
    for compared, name, colour in (
        (each.sets.with_last, "the last step", KEY),
        (each.sets.with_previous, "the step before", OTHER),
    ):
        observed, expected = mean_over_tags(compared)
        overlap.plot(observed, "o-", color=colour, label=f"with {name}")
        overlap.plot(expected, "--", color=colour, linewidth=0.9)
    sets = each.sets.turnover
    for values, chance, name, colour in (
        (sets.born, sets.born_expected, "born", KEY),
        (sets.died, sets.died_expected, "died", OTHER),
    ):
        at = np.arange(1, len(each.steps))
        turnover.plot(at, values.mean(axis=0)[1:], "o-", color=colour, label=name)
        turnover.plot(at, chance.mean(axis=0)[1:], "--", color=colour, linewidth=0.9)
    settled.plot(each.settled(), "o-", color=KEY)
    labels = (
        "accuracy on test words",
        "Jaccard, mean over tags",
        "neurons per tag",
        "share of the last sets that stays",
    )
    for axes, label in zip(grid.flat, labels, strict=True):
        axes.set_ylabel(label)
        axes.grid(axis="y", color=PALE, linewidth=0.7)
        axes.set_ylim(0, 1.02 if axes in (accuracy, settled) else 1.5 * axes.dataLim.y1)
    for axes in grid[1]:
        name_steps(axes, each.steps, figure_width() / 2 - 0.6)
    for axes in (accuracy, overlap, turnover):
        if axes is not accuracy:
            axes.plot([], [], "--", color=CONTROL, linewidth=0.9, label="random sets of these sizes")
        place = {"loc": "lower right", "bbox_to_anchor": (1, 0.17)} if axes is accuracy else {"loc": "best"}
        axes.legend(fontsize=0.9 * font_size("small"), **place)
    return figure


def _accuracy(axes: Axes, each: OverSteps) -> None:
    values = np.array(each.metric(ACCURACY))
    ends = [np.array(each.metric(name)) for name in (low(ACCURACY), high(ACCURACY))]
    errors = np.nan_to_num(np.maximum([values - ends[0], ends[1] - values], 0))
    axes.errorbar(range(len(values)), values, errors, fmt="o-", color=KEY, elinewidth=1, capsize=2, label="key neurons")
    for style, (label, own) in zip(STYLES, each.controls().items(), strict=False):
        axes.plot(own, linestyle=style, color="#555555", linewidth=1.1, label=label)
    centre, spread = (np.array(each.metric(name)) for name in (RANDOM, RANDOM_SPREAD))
    if not np.isnan(spread).all():
        axes.fill_between(range(len(values)), centre - spread, centre + spread, color=CONTROL, alpha=0.3, linewidth=0)


def tags_figure(each: OverSteps) -> Figure:
    """F1 of every tag, and the Jaccard index of its set with that of the last step, by step."""
    labels = labels_of(each.sets.tags)
    height = max(1.2, 0.16 * len(labels))
    figure = new_figure(height + 0.9, each.title)
    matrices = {
        "F1 on test words": np.array([each.f1(tag) for tag in each.sets.tags]),
        "Jaccard with the set of the last step": each.sets.with_last.jaccard,
    }
    grid = figure.subplots(1, 2, sharey=True)
    for axes, (title, values) in zip(grid, matrices.items(), strict=True):
        image = _map(axes, values, height / len(labels))
        axes.set_title(title)
        axes.set_yticks(range(len(labels)), labels, fontsize=min(font_size("small"), 72 * 0.8 * height / len(labels)))
        name_steps(axes, each.steps, figure_width() / 2 - 0.8)
    figure.colorbar(image, ax=grid, shrink=0.8)
    return figure


def _map(axes: Axes, values: Float[ndarray, "tags steps"], row: float) -> Any:
    axes.set_facecolor(PALE)
    axes.spines[:].set_visible(False)
    image = axes.imshow(np.ma.masked_invalid(values), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    size = min(0.8 * font_size("small"), 72 * 0.7 * row)
    fits = figure_width() / 2 / max(1, values.shape[1]) > 1.3 * inches(".00", "small")
    for i, j in np.ndindex(values.shape):
        if fits and not np.isnan(values[i, j]):
            colour = "white" if values[i, j] > 0.6 else "black"
            axes.text(j, i, without_zero(float(values[i, j]), 2), ha="center", va="center", fontsize=size, color=colour)
    return image


def name_steps(axes: Axes, steps: Sequence[int], length: float) -> None:
    """Label every step on the horizontal axis, or every n-th if they are many.

    Args:
        axes: The axes, whose positions are 0, 1, ...
        steps: The steps.
        length: Length of the axis in inches.
    """
    every = max(1, int(np.ceil(len(steps) * 1.4 * font_size("small") / 72 / length)))
    at = range(0, len(steps), every)
    axes.set_xticks(at, [f"{steps[i]:,}" for i in at], rotation=90 if len(steps) > 5 else 0)
    axes.set_xlabel(STEP_LABEL)
