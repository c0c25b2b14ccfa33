"""Measures of generated texts beside control sets: distances, intervals, p-values."""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest

from keyneurons.analysis.steering import Sums, beside_sets, cosine_distance, exchangeable_p_value, word_distance


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [
        ("the dog runs", "the dog runs", 0),
        ("the dog runs", "the cat runs", 1),
        ("the dog runs", "dog runs fast", 2),  # delete the, insert fast
        ("the dog runs", "", 3),
        ("", "the dog", 2),
        ("a b c d", "d c b a", 4),
    ],
)
def test_edit_distance_by_hand(a: str, b: str, edits: int) -> None:
    longest = max(len(a.split()), len(b.split()))
    assert word_distance(a.split(), b.split()) == pytest.approx(edits / longest)


def test_edit_distance_is_that_of_the_recursive_definition() -> None:
    draw = random.Random(0)

    @functools.cache
    def edits(a: str, b: str) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(edits(a[1:], b) + 1, edits(a, b[1:]) + 1, edits(a[1:], b[1:]) + (a[0] != b[0]))

    for _ in range(50):
        a, b = ("".join(draw.choices("abc", k=draw.randrange(8))) for _ in range(2))
        assert word_distance(list(a), list(b)) * max(len(a), len(b), 1) == pytest.approx(edits(a, b))
    assert word_distance([], []) == 0
    assert word_distance(["a", "\0"], ["a", "\0"]) == 0


def test_cosine_distance_by_hand() -> None:
    a = np.array([[1.0, 0.0], [1.0, 1.0], [3.0, 4.0], [1.0, 0.0]])
    b = np.array([[0.0, 2.0], [1.0, 0.0], [3.0, 4.0], [-1.0, 0.0]])
    np.testing.assert_allclose(cosine_distance(a, b), [1, 1 - np.sqrt(0.5), 0, 2])
    assert cosine_distance(a, a).tolist() == [0, 0, 0, 0]


def test_values_are_ratios_of_sums() -> None:
    sums = Sums(np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]), np.array([[2.0, 3.0, 1.0], [0.0, 0.0, 0.0]]))
    assert sums.values.tolist() == [0.5, 0]
    beside = beside_sets(Sums(np.ones((4, 3)), np.full((4, 3), 3.0)), draws=50, seed=0)
    assert beside.difference.value == 0
    assert beside.p_value == 1
    with pytest.raises(ValueError, match="at least 2 control sets"):
        beside_sets(sums, draws=10, seed=0)
    with pytest.raises(ValueError, match="at least 2 clusters"):
        Sums(np.ones((3, 1)), np.ones((3, 1)))


def test_intervals_cover_the_true_difference() -> None:
    """Prompts and sets vary; the difference of means is 0.3."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        of_condition = np.array([0.3, *rng.normal(0, 0.4, 5)])[:, None]
        totals = of_condition + rng.normal(0, 1, (1, 16)) + rng.normal(0, 0.5, (6, 16))
        difference = beside_sets(Sums(totals, np.ones_like(totals)), draws=200, seed=0).difference
        covered.append(difference.low <= 0.3 <= difference.high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_intervals_of_a_value_cover_it() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        counts = rng.integers(5, 20, (1, 16)).astype(float)
        totals = rng.binomial(counts.astype(int), 0.3).astype(float)
        (estimate,) = Sums(totals, counts).estimates(draws=200, seed=0)
        covered.append(estimate.low <= 0.3 <= estimate.high)
    assert 0.91 <= np.mean(covered) <= 0.98


def test_p_value_by_hand_and_its_error_rate() -> None:
    assert exchangeable_p_value(5.0, np.array([1.0, 2.0, 1.5, 1.2])) == pytest.approx(1 / 5)
    assert exchangeable_p_value(-5.0, np.array([1.0, 2.0, 1.5, 1.2])) == pytest.approx(1 / 5)
    assert exchangeable_p_value(1.4, np.array([1.0, 2.0, 1.5, 1.2])) == 1
    rng = np.random.default_rng(2)
    p_values = np.array([exchangeable_p_value(row[0], row[1:]) for row in rng.exponential(size=(4000, 20))])
    for level in (0.05, 0.1, 0.25):
        assert (p_values <= level).mean() == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 4000))
