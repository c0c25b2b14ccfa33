"""Two collections of sets against hand counts, scipy and draws of random sets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, hypergeom

from keyneurons.analysis.set_pair import Ranked, pair_of_sets
from keyneurons.records import KeyNeuron, NeuronSets


def sets_of(layers: tuple[int, ...], width: int = 10, **tags: list[tuple[int, int, float]]) -> NeuronSets:
    return NeuronSets("mlp", layers, width, {tag: tuple(KeyNeuron(*n) for n in own) for tag, own in tags.items()})


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
    pair = pair_of_sets(FIRST, SECOND)
    assert (pair.layers, pair.other_layers) == ((2,), ((4,), (5,)))
    assert (list(pair.tags), pair.other_tags) == (["A", "B", "C"], (("D",), ("E",)))
    a = pair.tags["A"]
    # on layer 2: {1, 3, 7} and {3, 1, 9, 8}
    assert (a.counts.first, a.counts.second, a.counts.shared) == (3, 4, 2)
    assert a.counts.expected == pytest.approx(3 * 4 / 10)
    assert a.counts.jaccard == pytest.approx(2 / 5)
    assert a.counts.coefficient == pytest.approx(2 / 3)
    # 10 choose 3 = 120; two of the four: 6 * 6, three of the four: 4
    assert a.counts.p_value == pytest.approx((36 + 4) / 120)
    assert a.same_sign == 1
    assert [(n.layer, n.neuron) for n in a.neurons] == [(2, 1), (2, 3), (2, 7), (2, 9), (2, 8)]
    assert (a.neurons[0].first, a.neurons[0].second) == (Ranked(1, 0.9), Ranked(3, 5.0))
    assert (a.neurons[1].first, a.neurons[1].second) == (Ranked(3, 0.5), Ranked(1, -7.0))
    assert (a.neurons[2].second, a.neurons[3].first) == (None, None)
    b, c = pair.tags["B"].counts, pair.tags["C"].counts
    assert (b.shared, b.jaccard, b.p_value) == (0, 0.0, 1.0)
    assert (c.first, c.second, c.coefficient, c.p_value, c.p_adjusted) == (0, 1, None, 1.0, None)
    # unions over A, B and C: {0, 1, 3, 7} and {1, 2, 3, 8, 9}
    assert (pair.union.first, pair.union.second, pair.union.shared) == (4, 5, 2)
    assert pair.union_neurons == {
        "both": ((2, 1), (2, 3)),
        "first": ((2, 0), (2, 7)),
        "second": ((2, 2), (2, 8), (2, 9)),
    }


def test_p_values_are_hypergeometric_in_every_layer_and_adjusted_over_the_tags() -> None:
    draw = np.random.default_rng(0)
    tags = {}
    for run in range(2):
        tags[run] = {
            tag: [(layer, int(n), 1.0) for layer in (0, 1) for n in draw.choice(30, size, replace=False)]
            for tag, size in zip("ABCD", (3, 5, 8, 12), strict=True)
        }
    pair = pair_of_sets(*(sets_of((0, 1), 30, **own) for own in tags.values()))
    for tag, size in zip("ABCD", (3, 5, 8, 12), strict=True):
        one = hypergeom(30, size, size).pmf(np.arange(size + 1))
        both = np.convolve(one, one)
        counts = pair.tags[tag].counts
        assert counts.p_value == pytest.approx(both[counts.shared :].sum())
        assert counts.expected == pytest.approx(both @ np.arange(len(both)))
        assert counts.expected_jaccard == pytest.approx(
            both @ (np.arange(len(both)) / (4 * size - np.arange(len(both))))
        )
    p_values = [pair.tags[tag].counts.p_value for tag in "ABCD"]
    assert [pair.tags[tag].counts.p_adjusted for tag in "ABCD"] == pytest.approx(false_discovery_control(p_values))


def test_random_sets_rarely_share_significantly_and_equal_sets_always_do() -> None:
    draw = np.random.default_rng(1)

    def drawn() -> NeuronSets:
        tags = {tag: [(0, int(n), 1.0) for n in draw.choice(200, 20, replace=False)] for tag in "ABCDE"}
        return sets_of((0,), 200, **tags)

    rejected = [
        any(pair.counts.p_adjusted <= 0.05 for pair in pair_of_sets(drawn(), drawn()).tags.values()) for _ in range(200)
    ]
    assert np.mean(rejected) <= 0.05
    same = drawn()
    pair = pair_of_sets(same, same)
    assert all(each.counts.jaccard == 1 and each.counts.p_adjusted < 1e-20 for each in pair.tags.values())


def test_signs_are_compared_only_between_signed_scores() -> None:
    unsigned = sets_of((2,), A=[(2, 1, 0.9), (2, 3, 0.5)])
    assert pair_of_sets(unsigned, SECOND).tags["A"].same_sign is None
    assert pair_of_sets(FIRST, FIRST).tags["A"].same_sign == 4


def test_two_empty_sets() -> None:
    pair = pair_of_sets(sets_of((2,), A=[]), sets_of((2,), A=[]))
    assert (pair.tags["A"].counts.jaccard, pair.tags["A"].counts.expected_jaccard) == (None, None)
    assert pair.union.jaccard is None


def test_what_has_nothing_in_common_is_refused() -> None:
    with pytest.raises(ValueError, match="no layer in common: 2, 4 against 5"):
        pair_of_sets(FIRST, sets_of((5,), A=[]))
    with pytest.raises(ValueError, match="no tag in common: A, B, C, D against X"):
        pair_of_sets(FIRST, sets_of((2,), X=[]))
    with pytest.raises(ValueError, match="must share site and width"):
        pair_of_sets(FIRST, sets_of((2,), 11, A=[]))
