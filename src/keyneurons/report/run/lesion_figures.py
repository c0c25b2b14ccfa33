"""Figures of lesions: changes by lesioned and measured tag, on own words, by dose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keyneurons.metrics import ALPHA
from keyneurons.pipeline.lesions.results import LesionResult
from keyneurons.report.drawing import (
    CONTROL,
    KEY,
    colours,
    figure_width,
    in_legend,
    labels_of,
    legend_below,
    name_ticks,
    new_figure,
    room_for,
)
from keyneurons.report.heatmaps import Scale, heatmap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARGIN = 0.7  # inches beside the bars


def figures_of_lesions(result: LesionResult, title: str) -> dict[str, Figure]:
    """The figures by name; that of doses only if there are several."""
    figures = {"lesion": _matrix(result, title), "lesion_own_words": _own_words(result, title)}
    return figures | ({"lesion_doses": _doses(result, title)} if len(result.doses) > 1 else {})


def _matrix(result: LesionResult, title: str) -> Figure:
    """Changes by lesioned tag (rows) and measured tag, beyond those of control sets."""
    family = result.study.families[0]
    double = result.families[family].dissociation
    values = result.change if double is None else double.beyond
    most = float(np.abs(values).max()) or 1.0
    texts = np.array([[f"{round(float(value), 2) + 0.0:+.2f}" for value in row] for row in values])  # avoids -0
    beyond = "" if double is None else f" beyond {family} sets"
    title = f"{title}\nLesions ({result.study.lesion.mode}): change of surprisal{beyond}"
    axes = "words of", "lesioned key neurons of"
    return heatmap(values, result.tags, title, Scale("bits per word", -most, most, "RdBu_r"), texts, axes)


def _own_words(result: LesionResult, title: str) -> Figure:
    """Change of each tag's own words with its interval, beside control sets."""
    family = result.study.families[0]
    labels, effects = labels_of(result.tags), result.families[family].effects
    title = f"{title}\nLesions ({result.study.lesion.mode}): change on a tag's own words; * p ≤ {ALPHA:.2f}"
    figure = new_figure(1.9 + room_for(labels), title)
    axes, at, change = figure.add_subplot(), np.arange(len(labels)), np.diag(result.change)
    ends = np.array([result.intervals[tag] for tag in result.tags]).T
    axes.bar(at - 0.2, change, width=0.4, color=KEY, label="key neurons (95 % interval)")
    errors = np.maximum([change - ends[0], ends[1] - change], 0)
    axes.errorbar(at - 0.2, change, errors, fmt="none", ecolor="black", elinewidth=0.8, capsize=1.5)
    controls = [effects[tag].control_mean for tag in result.tags]
    axes.bar(at + 0.2, controls, width=0.4, color=CONTROL, label=f"{family} sets (mean)")
    for i, tag in enumerate(result.tags):
        if effects[tag].p_value <= ALPHA:
            axes.text(i - 0.2, max(0.0, ends[1, i]), "*", ha="center", va="bottom")
    axes.axhline(0, color="black", lw=0.6)
    name_ticks(axes, labels, figure_width() - MARGIN)
    axes.set_xlim(-0.6, max(len(labels), 4) - 0.4)
    axes.set_ylabel("bits per word")
    legend_below(figure, [axes])
    return figure


def _doses(result: LesionResult, title: str) -> Figure:
    """Change by share of the set; the interval is that of the whole set."""
    title = f"{title}\nLesions ({result.study.lesion.mode}) of the strongest neurons of each set"
    figure = new_figure(max(1.9, 0.4 * figure_width()), title)
    axes, labels = figure.add_subplot(), labels_of(result.tags)
    for tag, label, colour in zip(result.tags, labels, colours(len(labels)), strict=True):
        changes = [of_tags[tag] for of_tags in result.doses.values()]
        axes.plot(list(result.doses), changes, ".-", color=colour, label=in_legend(label))
        if 1 in result.doses:
            whole, (low, high) = result.doses[1][tag], result.intervals[tag]
            axes.errorbar([1], [whole], np.maximum([[whole - low], [high - whole]], 0), color=colour, capsize=1.5)
    mean = [float(np.mean(list(changes.values()))) for changes in result.doses.values()]
    axes.plot(list(result.doses), mean, color="black", lw=2.2, label="mean")
    axes.set_xlabel("share of the set that is lesioned")
    axes.set_ylabel("change on own words (bits)")
    legend_below(figure, [axes])
    return figure
