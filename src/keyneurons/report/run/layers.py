"""Results of single layers: figures, and a line of the summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from keyneurons.artifacts.layers import mean_cosine
from keyneurons.metrics import ACCURACY, ALPHA, control_accuracy, control_spread, high, low
from keyneurons.pipeline.experiment import Result
from keyneurons.pipeline.layers import OneLayer, adjusted_over_layers, layer_metrics
from keyneurons.report.drawing import (
    CONTROL,
    KEY,
    colours,
    figure_width,
    in_legend,
    labels_of,
    legend_below,
    new_figure,
)
from keyneurons.report.heatmaps import Scale, heatmaps
from keyneurons.report.phrases import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = (("black", ":"), ("#d55e00", "-"), (CONTROL, "--"), (CONTROL, ":"), ("#009e73", "-."), ("#56b4e9", "-."))
"""Colours and line styles of controls with a single draw, in the order of the configuration."""

BESIDE = 4.5  # inches that panels beside one another need


def figures_of_layers(result: Result, title: str) -> dict[str, Figure]:
    """The accuracy by layer, and the accuracies and cosines of concepts, if any, by name."""
    if not any(result.layers.read_at.values()):
        return {}
    figures = {"accuracy_by_layer": _accuracies(result, title)}
    if any(one.concepts for layers in result.layers.read_at.values() for one in layers):
        figures["concepts"] = _concept_accuracies(result, title)
        figures["concept_cosine"] = _cosines(result, title)
    return figures


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


def _accuracies(result: Result, title: str) -> Figure:
    """Accuracy of key neurons and controls by layer; controls with several draws as bands."""
    figure, panels = _panels(result, f"{title}\nAccuracy on the key neurons of each layer")
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
        axes.set_title(f"read at the {read_at}")
    panels[0].set_ylim(top=1)
    panels[0].set_ylabel("accuracy on test words")
    legend_below(figure, panels)
    return figure


def _concept_accuracies(result: Result, title: str) -> Figure:
    names = result.text.labels.names
    labels = labels_of(names)
    figure, panels = _panels(result, f"{title}\nTags as directions (CAV) and regions (CAR)")
    for axes, (read_at, layers) in zip(panels, result.layers.read_at.items(), strict=True):
        curves = layer_metrics(read_at, layers)
        for tag, label, colour in zip(names, labels, colours(len(names)), strict=True):
            for kind, style in (("cav", "-"), ("car", "--")):
                curve = curves.get(f"layer/{read_at}/{kind}/accuracy/{tag}", {})
                name = in_legend(f"{label} ({kind.upper()})")
                axes.plot(list(curve), list(curve.values()), style, marker=".", color=colour, label=name)
        axes.axhline(0.5, color=CONTROL, lw=0.8)
        axes.set_title(f"read at the {read_at}")
    panels[0].set_ylim(top=1)
    panels[0].set_ylabel("accuracy, tag against others")
    legend_below(figure, panels)
    return figure


def _cosines(result: Result, title: str) -> Figure:
    shown = {
        at: mean_cosine(layers) for at, layers in result.layers.read_at.items() if any(one.concepts for one in layers)
    }
    names = next(iter(shown.values()))[0]
    matrices = {f"read at the {at}": cosine for at, (_, cosine) in shown.items()}
    scale = Scale("cosine, mean over the layers", -1.0, 1.0, "RdBu_r")
    return heatmaps(matrices, names, f"{title}\nCosines of the directions (CAV) of two tags", scale)


def _panels(result: Result, title: str) -> tuple[Figure, list[Axes]]:
    """One panel per reading position over the layers."""
    from matplotlib.ticker import MaxNLocator

    n, beside = len(result.layers.read_at), figure_width() >= BESIDE
    height = max(1.9, 0.34 * figure_width())
    figure = new_figure(height if beside else n * height, title)
    grid = figure.subplots(*((1, n) if beside else (n, 1)), squeeze=False, sharey=True)
    for axes in grid.flat:
        axes.set_xlabel("layer")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, list(grid.flat)
