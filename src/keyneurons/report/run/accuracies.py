"""The figure of accuracies: key neurons and controls, and their differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keyneurons.pipeline.evidence import Evidence
from keyneurons.report.drawing import CONTROL, KEY, figure_width, font_size, new_figure, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BESIDE = 4.5  # inches that two panels beside one another need


def figure_of_accuracies(evidence: Evidence, title: str) -> Figure:
    """Accuracies with single draws as ticks, and differences to the key neurons with intervals."""
    beside = figure_width() >= BESIDE
    names = ["key neurons", *(control.label for control in evidence.controls.values())]
    labels = [wrapped(name, (0.3 if beside else 0.42) * figure_width(), "small") for name in names]
    line = 1.25 * font_size("small") / 72
    height = len(labels) * max(0.2, max(map(len, labels)) * line + 0.04) + 0.45
    title = f"{title}\nAccuracy on test words with 95 % intervals; ticks: single draws"
    figure = new_figure(height if beside else 2 * height, title)
    grid: dict[str, Any] = {"nrows": 1, "ncols": 2, "width_ratios": (3, 2)} if beside else {"nrows": 2, "ncols": 1}
    panels: Any = figure.subplots(**grid, sharey=True)
    _accuracies(panels[0], evidence)
    _differences(panels[1], evidence)
    panels[0].set_ylim(len(labels) - 0.4, -0.6)
    for axes in panels:
        axes.set_yticks(range(len(labels)), ["\n".join(lines) for lines in labels])
    return figure


def _accuracies(axes: Axes, evidence: Evidence) -> None:
    own = evidence.accuracy
    assert own is not None
    values = [own.value, *(control.mean for control in evidence.controls.values())]
    axes.barh(range(len(values)), values, color=[KEY] + [CONTROL] * len(evidence.controls), height=0.7)
    ends = [[own.value - own.low], [own.high - own.value]]
    axes.errorbar(own.value, 0, xerr=ends, color="black", elinewidth=0.8, capsize=2)
    for i, control in enumerate(evidence.controls.values(), 1):
        if control.spread is not None:
            axes.plot(control.accuracy, [i] * len(control.accuracy), "|", color="black", ms=6, mew=0.5)
    beside = axes.get_yaxis_transform()  # x as share of the width
    for i, value in enumerate(values):
        axes.text(1.02, i, f"{value:.3f}", va="center", fontsize="small", transform=beside)
    axes.set_xlim(0, 1)
    axes.set_xlabel("accuracy")


def _differences(axes: Axes, evidence: Evidence) -> None:
    for i, (name, control) in enumerate(evidence.controls.items(), 1):
        difference = evidence.differences.get(name)
        if difference is not None and control.baseline is None:
            axes.plot([difference.low, difference.high], [i, i], color=KEY)
            axes.plot(difference.value, i, "o", color=KEY, ms=3.5)
    axes.axvline(0, color="black", lw=0.6)
    axes.set_xlabel("key neurons minus control")
