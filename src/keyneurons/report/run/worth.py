"""Worth of the key neurons and accuracies by size: sentence and figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keyneurons.pipeline.worth import Worth
from keyneurons.report.drawing import CONTROL, KEY, new_figure
from keyneurons.report.phrases import counted

if TYPE_CHECKING:
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


def figure_of_sizes(worth: Worth) -> Figure:
    """Accuracy by number of neurons: random sets, sets of highest variance, key neurons."""
    figure = new_figure(7.0, 4.2)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    low, high = [sets.min() for sets in worth.random], [sets.max() for sets in worth.random]
    axes.fill_between(worth.sizes, low, high, color=CONTROL, alpha=0.3, linewidth=0)
    mean = [float(sets.mean()) for sets in worth.random]
    axes.plot(worth.sizes, mean, "o-", color=CONTROL, ms=4, label="random (mean, range of the sets)")
    axes.plot(worth.sizes, worth.top_variance, "s--", color=VARIANCE, ms=4, label="highest variance")
    axes.plot(list(worth.key), list(worth.key.values()), "D-", color=KEY, ms=4, label="key neurons")
    union = worth.key[worth.n_key]
    axes.plot([worth.n_key], [union], "D", color=KEY, ms=9, label=f"all {counted(worth.n_key, 'key neuron')}")
    axes.hlines(union, worth.n_key, worth.neurons.value, color=KEY, linestyles=":", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(worth.sizes, [str(size) for size in worth.sizes], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_ylim(np.floor(20 * min(*low, *worth.top_variance, *worth.key.values())) / 20, 1)
    axes.set_xlabel("number of neurons")
    axes.set_ylabel("accuracy on test words")
    axes.legend(frameon=False, loc="lower right")
    return figure
