"""Figures of a run: the overlap without its diagonal, with p-values; layers are whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import hypergeom

from keyneurons.analysis.overlap import overlap
from keyneurons.records import KeyNeuron, NeuronSets
from keyneurons.report.heatmaps import Scale, by_layer, heatmap, without_zero
from keyneurons.report.run.figures import figure_of_overlap


def sets(**tags: range) -> NeuronSets:
    return NeuronSets("mlp", (8,), 1000, {t: tuple(KeyNeuron(8, i, 0.5) for i in own) for t, own in tags.items()})


def texts(figure: object) -> list[str]:
    [axes, _] = figure.axes  # type: ignore[attr-defined]
    return [text.get_text() for text in axes.texts]


def test_overlap_is_coloured_without_its_diagonal_and_significant_pairs_are_marked() -> None:
    found = overlap(sets(A=range(10), B=range(6, 16), C=range(9, 19)))
    figure = figure_of_overlap(found, "title")
    [axes, bar] = figure.axes
    image = axes.images[0]
    assert np.ma.getmaskarray(image.get_array()).tolist() == np.eye(3, dtype=bool).tolist()
    assert image.get_clim() == (0, pytest.approx(0.7))  # B and C share 7 of 10
    p = {shared: hypergeom.sf(shared - 1, 1000, 10, 10) for shared in (4, 1, 7)}
    adjusted = min(p[7] * 3, p[4] * 3 / 2, p[1])  # Benjamini-Hochberg by hand
    assert adjusted < 0.05 < p[1]
    assert texts(figure) == ["10", "4*", "1", "4*", "10", "7*", "1", "7*", "10"]
    assert bar.get_ylabel().split() == ["overlap", "coefficient"]


@pytest.mark.parametrize("tags", [{"A": range(3)}, {"A": range(3), "B": range(0)}, {"A": range(0), "B": range(0)}])
def test_overlap_of_few_or_empty_sets(tags: dict[str, range]) -> None:
    figure = figure_of_overlap(overlap(sets(**tags)), "title")
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    assert not [text for text in texts(figure) if "*" in text]


@pytest.mark.parametrize("layers", [(0, 1), tuple(range(30)), tuple(range(0, 200, 2))])
def test_ticks_of_layers_are_layers(layers: tuple[int, ...]) -> None:
    axes = by_layer(np.ones((2, len(layers)), dtype=int), ["A", "B"], layers, "title", "neurons").axes[0]
    ticks = [int(label.get_text()) for label in axes.get_xticklabels()]
    assert set(ticks) <= set(layers)
    assert [layers[int(place)] for place in axes.get_xticks()] == ticks


def test_cells_of_large_matrices_have_no_numbers() -> None:
    many = np.full((120, 120), "1.25")
    names = [f"tag{i}" for i in range(120)]
    figure = heatmap(np.ones((120, 120)), names, "title", Scale("share"), many)
    assert texts(figure) == []
    assert figure.axes[0].get_yticklabels()[0].get_fontsize() >= 3


def test_numbers_without_a_leading_zero() -> None:
    shown = [without_zero(value, 2) for value in (0.25, -0.254, 1.0, 0.999, 0.0, -0.001, -1.0)]
    assert shown == [".25", "-.25", "1", "1", "0", "0", "-1"]
