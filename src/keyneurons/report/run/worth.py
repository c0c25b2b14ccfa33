"""Worth of the key neurons and accuracies by size: sentence and figure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from keyneurons.analysis.sentence_bootstrap import Estimate
from keyneurons.pipeline.worth import Worth
from keyneurons.report.drawing import CONTROL, KEY, figure_width, inches, legend_below, new_figure
from keyneurons.report.phrases import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VARIANCE = "#e69f00"


def worth_sentence(worth: Worth) -> str:
    """How many random neurons the key neurons are worth, with the 95 % interval."""
    verb = "is" if worth.n_key == 1 else "are"
    neurons, smallest, largest = worth.neurons, int(worth.sizes[0]), int(worth.sizes[-1])
    low = f"{neurons.low:.0f}{' or fewer' if neurons.low <= smallest else ''}"
    high = f"{neurons.high:.0f}{' (all) or more' if neurons.high >= largest else ''}"
    if not worth.reached:
        equal, interval = f"more than all {largest} neurons", f"{low} or more"
    else:
        at_most = "at most " if neurons.value <= smallest else ""
        equal, interval = f"{at_most}{neurons.value:.0f} random ones", f"{low} to {high}"
    return f"{counted(worth.n_key, 'key neuron')} {verb} worth {equal} (95 % interval {interval})"


def figure_of_sizes(worth: Worth, accuracy: Estimate | None, title: str) -> Figure:
    """Accuracy by number of neurons: random sets, sets of highest variance, key neurons.

    ``accuracy`` is that of all key neurons with its interval.
    """
    figure = new_figure(max(2.0, 0.45 * figure_width()), f"{title}\nAccuracy by number of neurons")
    axes = figure.add_subplot()
    low, high = [sets.min() for sets in worth.random], [sets.max() for sets in worth.random]
    axes.fill_between(worth.sizes, low, high, color=CONTROL, alpha=0.3, linewidth=0)
    mean = [float(sets.mean()) for sets in worth.random]
    axes.plot(worth.sizes, mean, "o-", color=CONTROL, ms=3, label="random (mean, range of the sets)")
    axes.plot(worth.sizes, worth.top_variance, "s--", color=VARIANCE, ms=3, label="highest variance")
    axes.plot(list(worth.key), list(worth.key.values()), "D-", color=KEY, ms=3, label="key neurons")
    _union(axes, worth, accuracy)
    axes.set_xscale("log")
    step = math.ceil(len(worth.sizes) * inches(f"{worth.sizes[-1]} ", "small") / (figure_width() - 0.8))
    axes.set_xticks(worth.sizes[::step], [str(size) for size in worth.sizes[::step]], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_ylim(np.floor(20 * min(*low, *worth.top_variance, *worth.key.values())) / 20, 1)
    axes.set_xlabel("number of neurons")
    axes.set_ylabel("accuracy on test words")
    legend_below(figure, [axes])
    return figure


def _union(axes: Axes, worth: Worth, accuracy: Estimate | None) -> None:
    """The point of all key neurons with its interval, and the interval of their worth."""
    union, worth_of = worth.key[worth.n_key], worth.neurons
    label = f"all {counted(worth.n_key, 'key neuron')} (95 % interval)"
    errors = None if accuracy is None else np.maximum([[union - accuracy.low], [accuracy.high - union]], 0)
    axes.errorbar([worth.n_key], [union], errors, fmt="D", color=KEY, ms=6, elinewidth=1, capsize=2, label=label)
    axes.hlines(union, worth.n_key, worth_of.value, color=KEY, linestyles=":", linewidth=1)
    ends = np.maximum([[worth_of.value - worth_of.low], [worth_of.high - worth_of.value]], 0)
    options: dict[str, Any] = {"fmt": "|", "color": KEY, "elinewidth": 1, "capsize": 2, "ms": 8}
    axes.errorbar([worth_of.value], [union], xerr=ends, label="their worth in random ones (95 % interval)", **options)
