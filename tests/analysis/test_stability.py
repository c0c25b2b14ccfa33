"""Stability against enumeration, random draws and planted sets."""

from __future__ import annotations

from itertools import combinations, product
from statistics import fmean

import numpy as np
import pytest

from keyneurons.analysis.controls import matched_random_sets
from keyneurons.analysis.stability import Stability, expected_jaccard, expected_jaccards, jaccard, stability
from keyneurons.records import KeyNeuron, NeuronSets

Places = list[tuple[int, int]]


def sets_of(width: int, layers: tuple[int, ...], **tags: Places) -> NeuronSets:
    key_neurons = {
        tag: tuple(KeyNeuron(layer, neuron, 1.0) for layer, neuron in places) for tag, places in tags.items()
    }
    return NeuronSets("mlp", layers, width, key_neurons)


def every_set(sizes: tuple[int, ...], width: int) -> list[frozenset[tuple[int, int]]]:
    by_layer = [combinations([(layer, n) for n in range(width)], size) for layer, size in enumerate(sizes)]
    return [frozenset(place for part in parts for place in part) for parts in product(*by_layer)]


def random_places(places: Places, width: int, layers: int, n: int, seed: int) -> list[Places]:
    columns = [layer * width + neuron for layer, neuron in places]
    return [[divmod(int(c), width) for c in row] for row in matched_random_sets(columns, width, layers, n, seed)]


@pytest.mark.parametrize(
    ("first", "second"), [((2,), (3,)), ((1, 2), (3, 1)), ((0, 2), (2, 0)), ((4, 1), (4, 2)), ((2, 1), (0, 0))]
)
def test_expected_jaccard_equals_enumeration(first, second):
    every = [len(a & b) / len(a | b) for a in every_set(first, 4) for b in every_set(second, 4)]
    assert expected_jaccard(np.array(first), np.array(second), 4) == pytest.approx(fmean(every), rel=1e-12)


def test_expected_jaccard_of_thirty_layers_equals_random_draws():
    rng = np.random.default_rng(0)
    places = [(layer, n) for layer in range(30) for n in range(rng.integers(0, 8))]
    sizes = np.bincount([layer for layer, _ in places], minlength=30)
    draws = [{*draw} for draw in random_places(places, 40, 30, 1200, seed=0)]
    values = [len(a & b) / len(a | b) for a, b in zip(draws[::2], draws[1::2], strict=True)]
    error = np.std(values) / np.sqrt(len(values))
    assert expected_jaccard(sizes, sizes, 40) == pytest.approx(np.mean(values), abs=4 * error)


def test_expected_jaccard_of_whole_layers_is_exact():
    assert expected_jaccard(np.array([10, 10]), np.array([10, 10]), 10) == pytest.approx(1, rel=1e-14)
    assert expected_jaccard(np.array([10, 0]), np.array([10, 10]), 10) == pytest.approx(0.5, rel=1e-14)


def test_expected_jaccard_rejects_bad_sizes():
    empty, full = np.array([0, 0]), np.array([0, 11])
    with pytest.raises(ValueError, match="non-empty set, got sizes 0 and 0"):
        expected_jaccard(empty, empty, 10)
    with pytest.raises(ValueError, match=r"must lie in 0\.\.10, got \[\[0, 11\], \[0, 0\]\]"):
        expected_jaccard(full, empty, 10)


A = sets_of(10, (2, 7), X=[(2, 1), (2, 3), (7, 1)], E=[], HALF=[(2, 0)], ONLY_A=[(2, 0)])
B = sets_of(10, (2, 7), X=[(7, 1), (2, 1), (7, 3), (2, 9)], E=[], HALF=[], ONLY_B=[(2, 0)])


def test_jaccard_by_hand():
    """2 of 5 are shared; layers matter; empty and non-empty give 0; both empty give none."""
    assert jaccard(A, B) == jaccard(B, A) == {"HALF": 0, "X": 0.4}
    assert jaccard(A, A) == {"HALF": 1, "ONLY_A": 1, "X": 1}
    assert list(jaccard(A, B)) == ["HALF", "X"]


def test_expected_jaccards_depend_on_the_sizes():
    expected = expected_jaccards(A, B)
    assert expected == {"HALF": 0, "X": expected_jaccard(np.array([2, 1]), np.array([2, 2]), 10)}
    assert 0 < expected["X"] < 0.4


@pytest.mark.parametrize("compare", [jaccard, expected_jaccards])
def test_sets_of_another_site_or_layer_are_rejected(compare):
    a = sets_of(10, (0,), X=[(0, 1)])
    for b in (
        sets_of(11, (0,), X=[(0, 1)]),
        sets_of(10, (0, 1), X=[(0, 1)]),
        NeuronSets("residual", (0,), 10, a.tags),
    ):
        with pytest.raises(ValueError, match=r"share site, layers and width, got \('mlp', \(0,\), 10\) and "):
            compare(a, b)


def test_means_ignore_pairs_without_the_tag():
    c = sets_of(10, (2, 7), X=[(2, 1)], HALF=[(2, 0)], E=[])
    result = stability([(A, B), (A, c), (B, c)])
    assert result.jaccard == pytest.approx({"HALF": (0 + 1 + 0) / 3, "X": (2 / 5 + 1 / 3 + 1 / 4) / 3})
    assert list(result.expected) == ["HALF", "X"]
    assert result.mean() == pytest.approx(fmean(result.jaccard.values()))
    assert result.mean_expected() == pytest.approx(fmean(result.expected.values()))
    both = stability([(A, B), (A, A)])
    assert both.jaccard == pytest.approx({"HALF": 0.5, "ONLY_A": 1, "X": 0.7})


@pytest.mark.slow
def test_random_sets_have_chance_stability_and_planted_sets_more():
    """Half of each planted set recurs in every resample; random sets have the expected Jaccard."""
    places = [(layer, n) for layer in range(3) for n in range(8)]
    kept = [place for place in places if place[1] < 4]
    random = random_places(places, 30, 3, 60, seed=0)
    planted = [[*kept, *((layer, n) for layer, n in draw if n >= 4)] for draw in random]
    pairs = list(combinations([sets_of(30, (0, 1, 2), R=r, P=p) for r, p in zip(random, planted, strict=True)], 2))
    result = stability(pairs)
    assert result.jaccard["R"] == pytest.approx(result.expected["R"], abs=0.005)
    assert result.jaccard["P"] > result.expected["P"] + 0.1


def test_nothing_to_compare():
    with pytest.raises(ValueError, match="at least 1 pair of neuron sets, got 0"):
        stability([])
    nothing = stability([(sets_of(10, (0,), E=[]), sets_of(10, (0,), E=[]))])
    assert nothing == Stability({}, {})
    with pytest.raises(ValueError, match="got 0 tags"):
        nothing.mean()
    with pytest.raises(ValueError, match="got 0 tags"):
        nothing.mean_expected()
