"""Results of single layers: figures, and a line of the summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keyneurons.artifacts.layers import mean_cosine
from keyneurons.metrics import ACCURACY, ALPHA, control_accuracy, control_spread, high, low
from keyneurons.pipeline.experiment import Result
from keyneurons.pipeline.layers import OneLayer, adjusted_over_layers, layer_metrics
from keyneurons.report.drawing import CONTROL, KEY, in_legend, labels_of, new_figure, room_for, save
from keyneurons.report.phrases import counted
from keyneurons.report.run.figures import colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = (("black", ":"), ("#d55e00", "-"), (CONTROL, "--"), (CONTROL, ":"), ("#009e73", "-."), ("#56b4e9", "-."))
"""Colours and line styles of controls with a single draw, in the order of the configuration."""


def draw_layers(result: Result, folder: Path) -> None:
    """Draw the accuracy by layer and the accuracies and cosines of concepts, if any."""
    if not any(result.layers.read_at.values()):
        return
    save(_accuracies(result), folder / "accuracy_by_layer.png")
    if any(one.concepts for layers in result.layers.read_at.values() for one in layers):
        save(_concept_accuracies(result), folder / "concepts.png")
        save(_cosines(result), folder / "concept_cosine.png")


def layer_facts(result: Result) -> Iterator[str]:
    """One sentence for each reading position."""
    m = result.metrics
    for read_at, layers in result.layers.read_at.items():
        if not layers:
            continue
        best = f"{m[f'layers/{read_at}/best_test_accuracy']:.3f} in layer {m[f'layers/{read_at}/best_layer']:.0f}"
        adjusted = adjusted_over_layers(layers)
        compared = [_better(layers, name, adjusted[name]) for name in adjusted if _in_verdict(layers, name)]
        correction = f" ({counted(len(layers), 'layer')} tested, p after Benjamini-Hochberg)" if compared else ""
        sentence = f"layer by layer, read at the {read_at}: accuracy {best} (best layer on dev)"
        yield "; ".join([sentence, *compared]) + correction


def _in_verdict(layers: tuple[OneLayer, ...], name: str) -> bool:
    control = layers[0].evidence.controls.get(name)
    return control is not None and (control.role is not None or control.spread is not None)


def _better(layers: tuple[OneLayer, ...], name: str, adjusted: Mapping[int, float]) -> str:
    """Number of layers where the key neurons are better than a control, and mean difference.

    The smallest possible p-value of a control with few draws is given if it decides the number.
    """
    control = layers[0].evidence.controls[name]
    of_layers = [one for one in layers if one.layer in adjusted]
    better = sum(p_value <= ALPHA for p_value in adjusted.values())
    mean = np.mean([one.metrics[ACCURACY] - one.metrics[control_accuracy(name)] for one in of_layers])
    least = 1 / (1 + len(control.accuracy)) if control.role == "random" else 0.0
    floor = f", where p cannot be below {least:.3f} in a layer" if least * len(of_layers) > ALPHA else ""
    label, share = control.label, f"{better} of {counted(len(of_layers), 'layer')}"
    return f"better than {label} in {share}, by {mean:.3f} on average{floor}"


def _accuracies(result: Result) -> Figure:
    """Accuracy of key neurons and controls by layer; controls with several draws as bands."""
    figure, panels = _panels(result)
    for axes, (read_at, layers) in zip(panels, result.layers.read_at.items(), strict=True):
        at = [one.layer for one in layers]
        styles = cycle(STYLES)
        for name, control in layers[0].evidence.controls.items() if layers else ():
            mean = np.array([one.metrics[control_accuracy(name)] for one in layers])
            if control.spread is not None:
                std = np.array([one.metrics[control_spread(name)] for one in layers])
                axes.fill_between(at, mean - 2 * std, mean + 2 * std, color=CONTROL, alpha=0.4, lw=0)
                axes.plot(at, mean, color=CONTROL, label=f"{control.label} (± 2 std)")
            else:
                colour, line = next(styles)
                axes.plot(at, mean, line, color=colour, label=control.label)
        accuracy, lower, upper = (
            np.array([one.metrics[name] for one in layers]) for name in (ACCURACY, low(ACCURACY), high(ACCURACY))
        )
        errors = np.maximum([accuracy - lower, upper - accuracy], 0)
        axes.errorbar(at, accuracy, errors, marker=".", elinewidth=1, color=KEY, label="key neurons (95 % interval)")
        axes.set_title(f"read at the {read_at}", fontsize=10)
        axes.set_ylabel("accuracy on test words")
    panels[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _concept_accuracies(result: Result) -> Figure:
    names = result.text.labels.names
    labels = labels_of(names)
    figure, panels = _panels(result, room_for(labels))
    for axes, (read_at, layers) in zip(panels, result.layers.read_at.items(), strict=True):
        curves = layer_metrics(read_at, layers)
        for tag, label, colour in zip(names, labels, colours(len(names)), strict=True):
            for kind, style in (("cav", "-"), ("car", "--")):
                curve = curves.get(f"layer/{read_at}/{kind}/accuracy/{tag}", {})
                name = in_legend(f"{label} ({kind.upper()})")
                axes.plot(list(curve), list(curve.values()), style, marker=".", color=colour, label=name)
        axes.axhline(0.5, color=CONTROL, lw=0.8)
        axes.set_title(f"read at the {read_at}", fontsize=10)
        axes.set_ylabel("accuracy, tag against others (test words)")
    panels[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    return figure


def _cosines(result: Result) -> Figure:
    shown = {
        at: mean_cosine(layers) for at, layers in result.layers.read_at.items() if any(one.concepts for one in layers)
    }
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
    """One panel per reading position over the layers; ``room`` for the legend in inches."""
    figure = new_figure(5.0 * len(result.layers.read_at) + 1.8 + room, 3.6)
    panels = list(figure.subplots(1, len(result.layers.read_at), squeeze=False, sharey=True)[0])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("layer")
    return figure, panels
