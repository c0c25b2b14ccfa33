"""What the layers yielded one by one: figures, and a line for the summary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keyneurons.artifacts.layers import mean_cosine
from keyneurons.pipeline.experiment import Result
from keyneurons.pipeline.layers import layer_metrics
from keyneurons.report.drawing import in_legend, labels_of, new_figure, room_for, save
from keyneurons.report.run.figures import CONTROL, KEY, colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALPHA = 0.05

CURVES = {
    "key neurons": ("probe/test_accuracy", KEY, "-"),
    "all neurons": ("control/all_neurons/test_accuracy", "black", ":"),
    "control task": ("control/task/test_accuracy", "#d55e00", "-"),
    "word type": ("control/word_type/test_accuracy", CONTROL, "--"),
    "majority": ("control/majority/test_accuracy", CONTROL, ":"),
}


def draw_layers(result: Result, folder: Path) -> None:
    """Draw the accuracy over the layers and, where there are concepts, their accuracies and cosines."""
    if not any(result.layers.values()):
        return
    save(_accuracies(result), folder / "accuracy_by_layer.png")
    if any(one.concepts for found in result.layers.values() for one in found):
        save(_concept_accuracies(result), folder / "concepts.png")
        save(_cosines(result), folder / "concept_cosine.png")


def layer_facts(result: Result) -> Iterator[str]:
    """One sentence a place of reading."""
    m = result.metrics
    for read_at, found in result.layers.items():
        if not found:
            continue
        best = f"{m[f'layers/{read_at}/best_test_accuracy']:.3f} in layer {m[f'layers/{read_at}/best_layer']:.0f}"
        beaten = sum(one.metrics["control/random/p_value"] <= ALPHA for one in found)
        least = 1 / (1 + len(result.evidence.random_accuracy))
        told = f"in {beaten} of {len(found)} layers" if least <= ALPHA else f"(p cannot be below {least:.3f})"
        yield (
            f"layer by layer, read at the {read_at}: {best}, the best on dev; better than random sets {told}, by "
            f"{m[f'layers/{read_at}/mean_advantage']:.3f} on average"
        )


def _accuracies(result: Result) -> Figure:
    figure, panels = _panels(result)
    for axes, (read_at, found) in zip(panels, result.layers.items(), strict=True):
        at = [one.layer for one in found]
        mean, std = (
            np.array([one.metrics[f"control/random/test_accuracy{end}"] for one in found]) for end in ("", "_std")
        )
        axes.fill_between(at, mean - 2 * std, mean + 2 * std, color=CONTROL, alpha=0.4, lw=0)
        axes.plot(at, mean, color=CONTROL, label="random sets (two std)")
        for name, (metric, colour, style) in CURVES.items():
            if all(metric in one.metrics for one in found):
                values = [one.metrics[metric] for one in found]
                axes.plot(at, values, style, marker="." if name == "key neurons" else "", color=colour, label=name)
        axes.set_title(f"read at the {read_at}", fontsize=10)
        axes.set_ylabel("accuracy on test words")
    panels[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _concept_accuracies(result: Result) -> Figure:
    names = result.labels.names
    labels = labels_of(names)
    figure, panels = _panels(result, room_for(labels))
    for axes, (read_at, found) in zip(panels, result.layers.items(), strict=True):
        curves = layer_metrics(read_at, found)
        for tag, label, colour in zip(names, labels, colours(len(names)), strict=True):
            for kind, style in (("cav", "-"), ("car", "--")):
                curve = curves.get(f"layer/{read_at}/{kind}/accuracy/{tag}", {})
                told = in_legend(f"{label} ({kind.upper()})")
                axes.plot(list(curve), list(curve.values()), style, marker=".", color=colour, label=told)
        axes.axhline(0.5, color=CONTROL, lw=0.8)
        axes.set_title(f"read at the {read_at}", fontsize=10)
        axes.set_ylabel("tag against others on test words")
    panels[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return figure


def _cosines(result: Result) -> Figure:
    shown = {at: mean_cosine(found) for at, found in result.layers.items() if any(one.concepts for one in found)}
    labels = labels_of(next(iter(shown.values()))[0])
    size = max(3.0, 0.5 * len(labels) + 1.6) + room_for(labels)
    figure = new_figure(size * len(shown) + 0.8, size)
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (read_at, (_, cosine)) in zip(panels, shown.items(), strict=True):
        image = axes.imshow(cosine, cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set_xticks(range(len(labels)), labels, rotation=90)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_title(f"CAVs read at the {read_at}", fontsize=10)
        for i, j in np.ndindex(cosine.shape):
            dark = "white" if abs(cosine[i, j]) > 0.6 else "black"
            axes.text(j, i, f"{cosine[i, j]:.2f}", ha="center", va="center", fontsize=7, color=dark)
    figure.colorbar(image, ax=list(panels), label="cosine, mean over the layers", shrink=0.8)
    return figure


def _panels(result: Result, room: float = 0.0) -> tuple[Figure, list[Axes]]:
    """A panel for every place of reading, over the layers; ``room`` in inches for the legend."""
    figure = new_figure(5.0 * len(result.layers) + 1.8 + room, 3.6)
    panels = list(figure.subplots(1, len(result.layers), squeeze=False, sharey=True)[0])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("layer")
    return figure, panels
