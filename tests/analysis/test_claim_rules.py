"""Rules of the verdicts on claims, by hand counts, closed forms and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from keyneurons.analysis.claims import (
    CLOSED,
    OPEN,
    class_contrast,
    exceeds,
    expected_coefficient,
    expected_union,
    first_of_later_layers,
    null_holds,
    share_exceeds,
    within,
)
from keyneurons.records import KeyNeuron, NeuronSets


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.2, 0.4], "holds"),
        ([0.19, 0.41], "does not hold"),
        ([0.3, 0.5], "cannot be told"),
        ([], "cannot be told"),
        ([float("nan")], "does not hold"),
    ],
)
def test_a_range(values, verdict):
    assert within(values, 0.2, 0.4) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.86, 0.9, "holds"), (0.8, 0.84, "does not hold"), (0.84, 0.86, "cannot be told"), (0.85, 0.9, "cannot be told")],
)
def test_a_lower_bound(low, high, verdict):
    assert exceeds(low, high, 0.85) == verdict


def test_a_share_against_chance():
    p_value, verdict = share_exceeds(9, 9, 2 / 3, 0.05)
    # all of nine: (2/3)^9 above; below, all counts that are at most as likely
    own = binom.pmf(9, 9, 2 / 3)
    assert p_value == pytest.approx(sum(p for k in range(10) if (p := binom.pmf(k, 9, 2 / 3)) <= own * (1 + 1e-7)))
    assert verdict == "holds"
    assert share_exceeds(0, 9, 2 / 3, 0.05)[1] == "does not hold"
    assert share_exceeds(6, 9, 2 / 3, 0.05) == (pytest.approx(1.0), "cannot be told")
    assert share_exceeds(0, 0, 2 / 3, 0.05) == (1.0, "cannot be told")


def test_a_share_by_chance_is_called_above_it_in_at_most_the_level():
    """The exact error rate, over all counts of 40 neurons."""
    wrong = sum(binom.pmf(k, 40, 2 / 3) for k in range(41) if share_exceeds(k, 40, 2 / 3, 0.05)[1] != "cannot be told")
    assert 0.01 < wrong <= 0.05


def test_classes_by_hand():
    """Six ways to call two of four tags closed; differences .7, .2, .1 and their negatives."""
    values = {"DET": 0.9, "ADP": 0.8, "NOUN": 0.2, "VERB": 0.1, "PUNCT": 1.0}
    contrast = class_contrast(values)
    assert contrast.difference == pytest.approx(0.7)
    assert contrast.p_value == pytest.approx(2 / 6)
    assert contrast.verdict(0.4) == "holds"
    assert contrast.verdict(0.05) == "cannot be told"
    swapped = class_contrast({"NOUN": 0.9, "VERB": 0.8, "DET": 0.2, "ADP": 0.1})
    assert (swapped.difference, swapped.verdict(0.4)) == (pytest.approx(-0.7), "does not hold")


def test_classes_of_one_kind_have_no_difference():
    contrast = class_contrast({"NOUN": 0.3, "VERB": 0.4, "PUNCT": 0.9})
    assert (contrast.difference, contrast.p_value, contrast.verdict(0.05)) == (None, 1.0, "cannot be told")
    assert class_contrast({}).difference is None


def test_classes_by_chance_differ_in_at_most_the_level():
    draws = np.random.default_rng(0).random((400, 10))
    tags = [*sorted(OPEN)[:5], *sorted(CLOSED)[:5]]
    wrong = np.mean([class_contrast(dict(zip(tags, row, strict=True))).p_value <= 0.05 for row in draws.tolist()])
    assert 0.02 < wrong < 0.075


@pytest.mark.parametrize(
    ("p_adjusted", "least_p", "verdict"),
    [
        ([0.05, 0.9], 0.01, "does not hold"),
        ([0.06, 0.9], 0.01, "holds"),
        ([0.06, 0.9], 0.025, "holds"),
        ([0.06, 0.9], 0.026, "cannot be told"),  # .026 would be adjusted to .052
        ([], 0.01, "cannot be told"),
    ],
)
def test_a_null(p_adjusted, least_p, verdict):
    assert null_holds(p_adjusted, least_p, 0.05) == verdict


def test_the_expected_union_of_random_sets():
    """Against the mean over random sets, with tags of several sizes in two layers."""
    sizes = {"A": (3, 0), "B": (5, 10), "C": (4, 2)}
    tags = {
        tag: tuple(KeyNeuron(layer, i, 1.0) for layer, n in enumerate(own) for i in range(n))
        for tag, own in sizes.items()
    }
    expected = expected_union(NeuronSets("mlp", (0, 1), 12, tags))
    random = np.random.default_rng(0)
    unions = [
        sum(len({i for own in sizes.values() for i in random.permutation(12)[: own[layer]]}) for layer in (0, 1))
        for _ in range(3000)
    ]
    assert expected == pytest.approx(np.mean(unions), abs=0.1)
    assert expected_union(NeuronSets("mlp", (0,), 12, {"A": tags["A"][:3]})) == pytest.approx(3)


def test_the_expected_overlap_of_random_sets():
    """Of sets of 2, 4 and no neurons of 20, two share 2 * 4 / 20 = .4, a fifth of the smaller."""
    own = {tag: tuple(KeyNeuron(0, i, 1.0) for i in range(n)) for tag, n in (("A", 2), ("B", 4), ("C", 0))}
    assert expected_coefficient(NeuronSets("mlp", (0,), 20, own)) == pytest.approx(0.2)


@pytest.mark.parametrize(("n_layers", "first"), [(3, 1), (18, 6), (30, 10), (32, 11)])
def test_the_middle_to_late_layers(n_layers, first):
    assert first_of_later_layers(n_layers) == first
