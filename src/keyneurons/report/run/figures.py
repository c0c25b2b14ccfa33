"""Figures of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from keyneurons.analysis.stability import Stability
from keyneurons.pipeline.experiment import Result
from keyneurons.report.drawing import CONTROL, KEY, labels_of, new_figure, room_for, save
from keyneurons.report.run.worth import figure_of_sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_figures(result: Result, folder: Path) -> None:
    """Draw overlap, confusion, accuracies (also by size), F1 by tag, stability and layers.

    A run without key neurons has no figures. Those that every other run has are in ``folder``
    itself: MLflow's compare page lists no subfolders.

    Args:
        result: The run.
        folder: The folder of the run.
    """
    names, more = result.text.labels.names, folder / "figures"
    more.mkdir(exist_ok=True)
    if result.evidence.key_neurons is None:
        return
    confusion = result.evidence.key_neurons.scores.confusion
    row_share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    save(_overlap(result), folder / "overlap.png")
    title = "Test words of a tag (rows) by predicted tag"
    save(_heatmap(row_share, names, title, "share of the row", confusion), folder / "confusion.png")
    save(_accuracies(result), folder / "accuracy.png")
    save(_per_tag_f1(result), folder / "per_tag_f1.png")
    if result.worth is not None:
        save(figure_of_sizes(result.worth), more / "accuracy_by_size.png")
    if (stable := result.reliability.stability.get("halves")) is not None:
        save(_stability(stable), more / "stability.png")
    if len(result.key_neurons.sets.layers) > 1:
        save(_layers(result), more / "layers.png")


def colours(n: int) -> list[str]:
    """Colour-blind safe colours (Okabe & Ito), repeated after eight."""
    palette = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#000000")
    return [palette[i % len(palette)] for i in range(n)]


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _overlap(result: Result) -> Figure:
    k = max(map(len, result.key_neurons.sets.tags.values()))
    chance = result.metrics["overlap/mean_expected_count"]
    title = f"Key neurons shared by two tags, at most {k} per tag ({chance:.2g} expected by chance)"
    return _heatmap(result.overlap.coefficient, result.overlap.tags, title, "overlap coefficient", result.overlap.count)


def _stability(stable: Stability) -> Figure:
    """Jaccard of the sets of two halves of the train sentences, beside the chance level."""
    names = labels_of(list(stable.jaccard))
    figure, axes = _figure(max(6.0, 0.5 * len(names) + 1.5), 3.4 + room_for(names))
    at = np.arange(len(names))
    axes.bar(at - 0.2, list(stable.jaccard.values()), width=0.4, color=KEY, label="key neurons")
    axes.bar(at + 0.2, list(stable.expected.values()), width=0.4, color=CONTROL, label="random")
    axes.set_xticks(at, names, rotation=90)
    axes.set_ylim(0, 1)
    axes.set_ylabel("Jaccard of the sets of two halves")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def figure_of_matrices(matrices: Mapping[str, Float[ndarray, "names names"]], names: Sequence[str]) -> Figure:
    """Annotated square matrices with values in 0..1, in two columns."""
    names = labels_of(names)
    size = max(3.6, 0.55 * len(names) + 1.6) + room_for(names)
    figure = new_figure(2 * size, size * -(-len(matrices) // 2))
    grid = figure.subplots(-(-len(matrices) // 2), 2, squeeze=False)
    for axes, (title, matrix) in zip(grid.flat, matrices.items(), strict=False):
        axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=90)
        axes.set_yticks(range(len(names)), names)
        axes.set_title(title, fontsize=10)
        for i, j in np.ndindex(matrix.shape):
            colour = "white" if matrix[i, j] > 0.6 else "black"
            if not np.isnan(matrix[i, j]):
                number = f"{round(float(matrix[i, j]), 3) + 0.0:.3f}".replace("0.", ".")  # avoids -0
                axes.text(j, i, number, ha="center", va="center", fontsize=7, color=colour, in_layout=False)
    return figure


def _heatmap(
    values: Shaped[ndarray, "tags tags"],
    names: Sequence[str],
    title: str,
    label: str,
    shown: Shaped[ndarray, "tags tags"],
) -> Figure:
    """A heatmap of ``values``, annotated with ``shown``."""
    names = labels_of(names)
    size = max(4.5, 0.42 * len(names) + 2) + room_for(names)
    figure, axes = _figure(size + 1, size)
    image = axes.imshow(values, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set_title(title, fontsize=10)
    for i, j in np.ndindex(values.shape):
        if shown[i, j]:
            colour = "white" if values[i, j] > 0.6 else "black"
            axes.text(j, i, f"{shown[i, j]}", ha="center", va="center", fontsize=7, color=colour, in_layout=False)
    figure.colorbar(image, ax=axes, label=label, shrink=0.8)
    return figure


def _accuracies(result: Result) -> Figure:
    """Accuracies with single draws as ticks; differences to the key neurons with intervals."""
    own, controls = result.evidence.accuracy, result.evidence.controls
    assert own is not None
    names = ["key neurons", *(control.label for control in controls.values())]
    values = [own.value, *(control.mean for control in controls.values())]
    figure = new_figure(10.5, 0.45 * len(names) + 1.2)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    left.barh(names, values, color=[KEY] + [CONTROL] * len(controls))
    left.errorbar(own.value, 0, xerr=[[own.value - own.low], [own.high - own.value]], color="black", capsize=3)
    for i, (name, control) in enumerate(controls.items(), 1):
        if control.spread is not None:
            left.plot(control.accuracy, [i] * len(control.accuracy), "|", color="black", ms=9, mew=0.7)
        difference = result.evidence.differences.get(name)
        if difference is not None and control.baseline is None:
            right.plot([difference.low, difference.high], [i, i], color=KEY, lw=1.5)
            right.plot(difference.value, i, "o", color=KEY, ms=4)
    ends = [own.high, *(control.accuracy.max() for control in controls.values())]
    for i, (value, end) in enumerate(zip(values, ends, strict=True)):
        left.text(end + 0.02, i, f"{value:.3f}", va="center", fontsize=9)
    left.invert_yaxis()
    left.set_xlim(0, 1.18)
    left.set_xlabel("accuracy on test words (ticks: single draws)")
    right.axvline(0, color="black", lw=0.8)
    right.set_xlabel("difference (95 % interval)")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _per_tag_f1(result: Result) -> Figure:
    names = list(result.evidence.per_tag)
    probes, labels = result.evidence.per_tag.values(), labels_of(names)
    figure, axes = _figure(max(6.0, 0.5 * len(names) + 1.5), 3.4 + room_for(labels))
    at = np.arange(len(names))
    axes.bar(at - 0.2, [probe.f1 for probe in probes], width=0.4, color=KEY, label="key neurons")
    random = [float(probe.random_f1.mean()) for probe in probes]
    ends = [
        (mean + probe.difference.low, mean + probe.difference.high) for mean, probe in zip(random, probes, strict=True)
    ]
    label = "95 % interval of the difference"
    axes.vlines(at - 0.2, *zip(*ends, strict=True), color="black", lw=1, label=label)
    axes.bar(at + 0.2, random, width=0.4, color=CONTROL, label="random")
    axes.set_xticks(at, labels, rotation=90)
    axes.set_ylim(0, 1)
    axes.set_ylabel("F1 of the tag on its own neurons")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _layers(result: Result) -> Figure:
    """Layers of the ``top_k`` strongest neurons of each tag."""
    layers, names, k = result.key_neurons.sets.layers, result.text.labels.names, result.experiment.selection.rule.top_k
    strongest = {tag: result.key_neurons.sets.tags[tag][:k] for tag in names}
    counts = np.array([[sum(n.layer == layer for n in strongest[tag]) for layer in layers] for tag in names])
    return figure_by_layer(counts, names, layers, f"Layers of the {k} strongest neurons of each tag")


def figure_by_layer(
    counts: Int[ndarray, "names layers"], names: Sequence[str], layers: Sequence[int], title: str
) -> Figure:
    """Number of key neurons in each layer, one row per name."""
    names = labels_of(names)
    figure, axes = _figure(max(4.5, 0.35 * len(layers) + 2.5) + room_for(names), 0.3 * len(names) + 1.5)
    image: Any = axes.imshow(counts, cmap="Blues", aspect="auto", vmin=0)
    axes.set_xticks(range(len(layers)), [str(layer) for layer in layers])
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("layer")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, label="key neurons")
    return figure
