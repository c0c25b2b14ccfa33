"""Sets of several runs against hand counts, scipy and draws of random sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import false_discovery_control, hypergeom

from keyneurons.analysis.shared_sets import Ranked, shared_sets
from keyneurons.records import KeyNeuron, NeuronSets


def sets_of(layers: tuple[int, ...], width: int = 10, **tags: list[tuple[int, int, float]]) -> NeuronSets:
    return NeuronSets("mlp", layers, width, {tag: tuple(KeyNeuron(*n) for n in own) for tag, own in tags.items()})


BOTH = (0, 1)
FIRST = sets_of(
    (2, 4),
    A=[(2, 1, 0.9), (4, 5, -0.8), (2, 3, 0.5), (2, 7, 0.4)],
    B=[(2, 0, 0.3)],
    C=[],
    D=[(2, 0, 0.1)],
)
SECOND = sets_of(
    (2, 5),
    A=[(2, 3, -7.0), (5, 5, 6.0), (2, 1, 5.0), (2, 9, 1.0), (2, 8, 0.5)],
    B=[(2, 1, 0.3)],
    C=[(2, 2, 1.0)],
    E=[(2, 0, 0.1)],
)


def test_a_hand_count() -> None:
    found = shared_sets([FIRST, SECOND])
    assert (found.layers, found.other_layers) == ((2,), ((4,), (5,)))
    assert (list(found.tags), found.other_tags) == (["A", "B", "C"], (("D",), ("E",)))
    a = found.tags["A"]
    # on layer 2: {1, 3, 7} and {3, 1, 9, 8}
    assert (a.counts.sizes, a.counts.alone) == ((3, 4), (1, 2))
    assert list(a.counts.shared) == [BOTH]
    shared = a.counts.shared[BOTH]
    assert shared.count == 2
    assert shared.expected == pytest.approx(3 * 4 / 10)
    assert shared.jaccard == pytest.approx(2 / 5)
    assert shared.coefficient == pytest.approx(2 / 3)
    # 10 choose 3 = 120; two of the four: 6 * 6, three of the four: 4
    assert shared.p_value == pytest.approx((36 + 4) / 120)
    assert a.same_sign == 1
    assert [(n.layer, n.neuron) for n in a.neurons] == [(2, 1), (2, 3), (2, 7), (2, 9), (2, 8)]
    assert a.neurons[0].ranked == (Ranked(1, 0.9), Ranked(3, 5.0))
    assert a.neurons[1].ranked == (Ranked(3, 0.5), Ranked(1, -7.0))
    assert [n.runs for n in a.neurons] == [(0, 1), (0, 1), (0,), (1,), (1,)]
    b, c = found.tags["B"].counts.shared[BOTH], found.tags["C"].counts
    assert (b.count, b.jaccard, b.p_value) == (0, 0.0, 1.0)
    assert (c.sizes, c.shared[BOTH].coefficient, c.shared[BOTH].p_value, c.shared[BOTH].p_adjusted) == (
        (0, 1), None, 1.0, None,
    )  # fmt: skip
    # unions over A, B and C: {0, 1, 3, 7} and {1, 2, 3, 8, 9}
    assert (found.union.sizes, found.union.alone, found.union.shared[BOTH].count) == ((4, 5), (2, 3), 2)
    assert found.union_neurons == {
        (0, 1): ((2, 1), (2, 3)),
        (0,): ((2, 0), (2, 7)),
        (1,): ((2, 2), (2, 8), (2, 9)),
    }


def test_three_runs_by_hand() -> None:
    third = sets_of((2,), A=[(2, 3, 0.4), (2, 8, 0.3)], B=[(2, 0, 0.3)], C=[(2, 2, 1.0)])
    found = shared_sets([FIRST, SECOND, third])
    a = found.tags["A"].counts  # {1, 3, 7}, {1, 3, 8, 9} and {3, 8}
    assert (a.sizes, a.alone) == ((3, 4, 2), (1, 1, 0))
    assert {runs: shared.count for runs, shared in a.shared.items()} == {(0, 1): 2, (0, 2): 1, (1, 2): 2, (0, 1, 2): 1}
    everywhere = a.shared[0, 1, 2]
    assert everywhere.expected == pytest.approx(10 * 0.3 * 0.4 * 0.2)
    # any of 10 neurons in all three sets: sum over what the first two share
    first_two = hypergeom(10, 4, 3).pmf(np.arange(4))
    none = hypergeom.pmf(0, 10, 2, np.arange(4))
    assert everywhere.p_value == pytest.approx(1 - first_two @ none)
    assert (everywhere.jaccard, everywhere.coefficient) == (None, None)
    assert a.shared[1, 2] == replace(
        shared_sets([SECOND, third]).tags["A"].counts.shared[BOTH], p_adjusted=a.shared[1, 2].p_adjusted
    )
    assert [n.runs for n in found.tags["A"].neurons] == [(0, 1, 2), (0, 1), (1, 2), (0,), (1,)]
    assert found.union_neurons[0, 1, 2] == ((2, 3),)


def test_p_values_are_hypergeometric_in_every_layer_and_adjusted_over_the_tags() -> None:
    draw = np.random.default_rng(0)
    tags = {}
    for run in range(2):
        tags[run] = {
            tag: [(layer, int(n), 1.0) for layer in (0, 1) for n in draw.choice(30, size, replace=False)]
            for tag, size in zip("ABCD", (3, 5, 8, 12), strict=True)
        }
    found = shared_sets([sets_of((0, 1), 30, **own) for own in tags.values()])
    for tag, size in zip("ABCD", (3, 5, 8, 12), strict=True):
        one = hypergeom(30, size, size).pmf(np.arange(size + 1))
        both = np.convolve(one, one)
        shared = found.tags[tag].counts.shared[BOTH]
        assert shared.p_value == pytest.approx(both[shared.count :].sum())
        assert shared.expected == pytest.approx(both @ np.arange(len(both)))
        assert shared.expected_jaccard == pytest.approx(
            both @ (np.arange(len(both)) / (4 * size - np.arange(len(both))))
        )
    own = [found.tags[tag].counts.shared[BOTH] for tag in "ABCD"]
    expected = false_discovery_control([each.p_value for each in own])
    assert [each.p_adjusted for each in own] == pytest.approx(expected)


@pytest.mark.parametrize("n_runs", [2, 3])
def test_random_sets_rarely_share_significantly_and_equal_sets_always_do(n_runs: int) -> None:
    draw = np.random.default_rng(1)

    def drawn() -> NeuronSets:
        tags = {tag: [(0, int(n), 1.0) for n in draw.choice(200, 20, replace=False)] for tag in "ABCDE"}
        return sets_of((0,), 200, **tags)

    every = tuple(range(n_runs))
    rejected = [
        any(own.counts.shared[every].p_adjusted <= 0.05 for own in shared_sets([drawn() for _ in every]).tags.values())
        for _ in range(200)
    ]
    assert np.mean(rejected) <= 0.05
    same = shared_sets([drawn()] * n_runs)
    assert all(each.counts.shared[every].p_adjusted < 1e-20 for each in same.tags.values())
    assert all(each.counts.alone == (0,) * n_runs for each in same.tags.values())


def test_signs_are_compared_only_between_signed_scores() -> None:
    unsigned = sets_of((2,), A=[(2, 1, 0.9), (2, 3, 0.5)])
    assert shared_sets([unsigned, SECOND]).tags["A"].same_sign is None
    assert shared_sets([FIRST, FIRST]).tags["A"].same_sign == 4


def test_two_empty_sets() -> None:
    found = shared_sets([sets_of((2,), A=[]), sets_of((2,), A=[])])
    shared = found.tags["A"].counts.shared[BOTH]
    assert (shared.jaccard, shared.expected_jaccard) == (None, None)
    assert found.union.shared[BOTH].jaccard is None


def test_what_has_nothing_in_common_is_refused() -> None:
    with pytest.raises(ValueError, match="no layer in common: 2, 4 against 5"):
        shared_sets([FIRST, sets_of((5,), A=[])])
    with pytest.raises(ValueError, match="no tag in common: A, B, C, D against X"):
        shared_sets([FIRST, sets_of((2,), X=[])])
    with pytest.raises(ValueError, match="must share site and width"):
        shared_sets([FIRST, sets_of((2,), 11, A=[])])
    with pytest.raises(ValueError, match="at least 2 runs, got 1"):
        shared_sets([FIRST])
