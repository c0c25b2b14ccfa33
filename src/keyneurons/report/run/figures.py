"""Figures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.analysis.overlap import Overlap
from keyneurons.analysis.stability import Stability
from keyneurons.metrics import ALPHA
from keyneurons.pipeline.experiment import Result
from keyneurons.pipeline.per_tag import TagProbe
from keyneurons.report.drawing import (
    CONTROL,
    KEY,
    figure_width,
    labels_of,
    legend_below,
    name_ticks,
    new_figure,
    room_for,
)
from keyneurons.report.figure_style import FigureOptions, styled
from keyneurons.report.heatmaps import Scale, by_layer, heatmap
from keyneurons.report.run.accuracies import figure_of_accuracies
from keyneurons.report.run.layers import figures_of_layers
from keyneurons.report.run.lesion_figures import figures_of_lesions
from keyneurons.report.run.title import run_title
from keyneurons.report.run.worth import figure_of_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

ROOT_FIGURES = ("overlap", "accuracy", "per_tag_f1")
MARGIN = 0.6  # inches beside the bars of a chart


def draw_figures(result: Result, folder: Path, options: FigureOptions) -> None:
    """Draw overlap, confusion, accuracies (also by size and by layer), F1 by tag, lesions, etc.

    A run without key neurons has no figures, except those of single layers and of lesions. The
    figures by which runs are compared are in ``folder`` itself: MLflow's compare page lists no
    subfolders.

    Args:
        result: The run.
        folder: The folder of the run.
        options: Formats, style and width of the figures.
    """
    more = folder / "figures"
    more.mkdir(exist_ok=True)
    with styled(options) as save:
        for name, figure in _figures(result).items():
            save(figure, (folder if name in ROOT_FIGURES else more) / name)


def _figures(result: Result) -> dict[str, Figure]:
    """The figures of a run by name."""
    title, figures = run_title(result), {}
    if (own := result.evidence.key_neurons) is not None:
        figures["overlap"] = figure_of_overlap(result.overlap, title)
        figures["confusion"] = _confusion(own.scores.confusion, result.text.labels.names, title)
        figures["accuracy"] = figure_of_accuracies(result.evidence, title)
        figures["per_tag_f1"] = _per_tag_f1(result.evidence.per_tag, title)
        if result.worth is not None:
            figures["accuracy_by_size"] = figure_of_sizes(result.worth, result.evidence.accuracy, title)
        if (stable := result.reliability.stability.get("halves")) is not None:
            figures["stability"] = _stability(stable, title)
        if len(result.key_neurons.sets.layers) > 1:
            figures["layers"] = _layers(result, title)
    figures |= figures_of_layers(result, title)
    return figures | ({} if result.lesions is None else figures_of_lesions(result.lesions, title))


def figure_of_overlap(overlap: Overlap, title: str) -> Figure:
    """Overlap of every two tags: its colours ignore the diagonal, which has the size of a set."""
    tags, apart = overlap.tags, ~np.eye(len(overlap.tags), dtype=bool)
    values = np.where(apart, overlap.coefficient, np.nan)
    most = float(np.nanmax(values)) if (values > 0).any() else 1.0
    marked = apart & (overlap.p_adjusted <= ALPHA)
    texts = np.where(overlap.count > 0, np.char.add(overlap.count.astype(str), np.where(marked, "*", "")), "")
    explained = f"Key neurons shared by two tags; * more than by chance (p ≤ {ALPHA:.2f}, adjusted for the pairs)"
    return heatmap(values, tags, f"{title}\n{explained}", Scale("overlap coefficient", 0.0, most), texts)


def _confusion(confusion: Int[ndarray, "tags tags"], names: tuple[str, ...], title: str) -> Figure:
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    texts = np.where(confusion > 0, confusion.astype(str), "")
    axes = "predicted tag", "tag of the test word"
    return heatmap(share, names, f"{title}\nTest words by predicted tag", Scale("share of the row"), texts, axes)


def _stability(stable: Stability, title: str) -> Figure:
    """Jaccard of the sets of two halves of the train sentences, beside the chance level."""
    labels = labels_of(list(stable.jaccard))
    figure = new_figure(1.9 + room_for(labels), f"{title}\nStability of the sets")
    axes, at = figure.add_subplot(), np.arange(len(labels))
    axes.bar(at - 0.2, list(stable.jaccard.values()), width=0.4, color=KEY, label="key neurons")
    axes.bar(at + 0.2, list(stable.expected.values()), width=0.4, color=CONTROL, label="random sets")
    name_ticks(axes, labels, figure_width() - MARGIN)
    axes.set_xlim(-0.6, max(len(labels), 4) - 0.4)
    axes.set_ylim(0, 1)
    axes.set_ylabel("Jaccard of two halves")
    legend_below(figure, [axes])
    return figure


def _per_tag_f1(per_tag: Mapping[str, TagProbe], title: str) -> Figure:
    """F1 of each tag beside random sets; the interval is that of the difference."""
    labels, probes = labels_of(list(per_tag)), list(per_tag.values())
    figure = new_figure(1.9 + room_for(labels), f"{title}\nA tag against all others, on its own key neurons")
    axes, at = figure.add_subplot(), np.arange(len(labels))
    f1 = np.array([probe.f1 for probe in probes])
    random = np.array([float(probe.random_f1.mean()) for probe in probes])
    ends = np.clip(np.array([(probe.difference.low, probe.difference.high) for probe in probes]).T + random, 0, 1)
    axes.bar(at - 0.2, f1, width=0.4, color=KEY, label="key neurons (95 % interval of the difference)")
    errors = np.maximum([f1 - ends[0], ends[1] - f1], 0)
    axes.errorbar(at - 0.2, f1, errors, fmt="none", ecolor="black", elinewidth=0.8, capsize=1.5)
    axes.bar(at + 0.2, random, width=0.4, color=CONTROL, label="random sets (mean; ticks: single sets)")
    for i, probe in enumerate(probes):
        axes.plot(np.full(len(probe.random_f1), i + 0.2), probe.random_f1, "_", color="black", ms=3, mew=0.4)
    name_ticks(axes, labels, figure_width() - MARGIN)
    axes.set_xlim(-0.6, max(len(labels), 4) - 0.4)
    axes.set_ylim(0, 1)
    axes.set_ylabel("F1 on test words")
    legend_below(figure, [axes])
    return figure


def _layers(result: Result, title: str) -> Figure:
    """Layers of the ``top_k`` strongest neurons of each tag."""
    layers, names, k = result.key_neurons.sets.layers, result.text.labels.names, result.experiment.selection.rule.top_k
    strongest = {tag: result.key_neurons.sets.tags[tag][:k] for tag in names}
    counts = np.array([[sum(n.layer == layer for n in strongest[tag]) for layer in layers] for tag in names])
    explained = f"Layers of the {k} strongest neurons of each tag"
    return by_layer(counts, names, layers, f"{title}\n{explained}", "key neurons")
