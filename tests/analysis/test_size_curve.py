"""Sizes, nested sets and the size that reaches a target, against hand counts and numpy."""

from __future__ import annotations

import numpy as np
import pytest

from keyneurons.analysis.size_curve import first_by_rank, grid_of_sizes, size_reaching

SIZES = np.array([10, 100, 1000])


@pytest.mark.parametrize(
    ("n_neurons", "n_sizes", "expected"),
    [
        (1024, 8, [8, 16, 32, 64, 128, 256, 512, 1024]),
        (5, 8, [5]),
        (10, 8, [8, 9, 10]),
        (800, 2, [8, 800]),
    ],
    ids=["doubling", "fewer-than-8", "rounded-alike", "ends-only"],
)
def test_the_grid_is_geometric(n_neurons: int, n_sizes: int, expected: list[int]) -> None:
    assert grid_of_sizes(n_neurons, n_sizes).tolist() == expected


def test_neurons_are_taken_rank_by_rank() -> None:
    rankings = [[5, 1, 7], [1, 9], [5, 2]]
    nested = [first_by_rank(rankings, n).tolist() for n in range(7)]
    assert nested == [[], [5], [1, 5], [1, 5, 9], [1, 2, 5, 9], [1, 2, 5, 7, 9], [1, 2, 5, 7, 9]]


@pytest.mark.parametrize(
    ("accuracies", "target", "expected"),
    [
        ([0.4, 0.6, 0.8], 0.6, 100),
        ([0.4, 0.6, 0.8], 0.5, 10**1.5),
        ([0.4, 0.6, 0.8], 0.65, 10**2.25),
        ([0.4, 0.6, 0.8], 0.3, 10),
        ([0.4, 0.6, 0.8], 0.9, 1000),
        ([0.4, 0.6, 0.8], 0.8, 1000),
        ([0.6, 0.4, 0.8], 0.7, 10**2.5),
        ([0.4, 0.8, 0.5], 0.6, 10**1.5),
        ([0.5, 0.5, 0.5], 0.5, 10),
    ],
    ids=["at", "between", "quarter", "below", "above", "last", "dip", "peak", "flat"],
)
def test_by_hand(accuracies: list[float], target: float, expected: float) -> None:
    """The curve is linear over the logarithm of the size, and never falls."""
    at = size_reaching(SIZES, np.array([accuracies]), np.array([target]))
    assert at == pytest.approx([expected])


def test_many_curves_are_interpolated_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    sizes = grid_of_sizes(1500, 8)
    curves = np.sort(rng.random((50, 8)), axis=1)
    targets = rng.random(50)
    by_numpy = [np.exp(np.interp(t, curve, np.log(sizes))) for t, curve in zip(targets, curves, strict=True)]
    assert size_reaching(sizes, curves, targets) == pytest.approx(by_numpy)


def test_the_only_size_is_the_answer() -> None:
    assert size_reaching(np.array([5]), np.array([[0.5], [0.5]]), np.array([0.4, 0.6])).tolist() == [5, 5]
