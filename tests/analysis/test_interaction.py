"""Error rates of the tests of the diagonal, against matrices of known origin."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from keyneurons.analysis.interaction import (
    additive_p_values,
    advantage,
    centred,
    multiplicative_p_values,
    relabellings,
    scaled,
    smallest_detectable,
)

ORDERS = {n: relabellings(n, 199, 0) for n in (4, 5, 8)}
REPEATS = 400
MOST = int(binom.ppf(0.999, REPEATS, 0.05))  # rejections of a test at 5 %, exceeded once in a thousand repeats


def factors(n: int, correlation: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Strengths of sets and sensitivities of tags, log-normal, with a correlation of their logs."""
    strength, other = rng.normal(size=(2, REPEATS, n))
    sensitivity = correlation * strength + np.sqrt(1 - correlation**2) * other
    return np.exp(0.7 * strength)[:, :, None], np.exp(0.7 * sensitivity)[:, None, :]


def additive(n: int, correlation: float, rng: np.random.Generator, noise: float) -> np.ndarray:
    strength, sensitivity = factors(n, correlation, rng)
    return strength + sensitivity + noise * rng.normal(size=(REPEATS, n, n))


def product(n: int, correlation: float, rng: np.random.Generator, noise: float) -> np.ndarray:
    """Strength times sensitivity, with equal noise in all cells."""
    strength, sensitivity = factors(n, correlation, rng)
    return strength * sensitivity + noise * rng.normal(size=(REPEATS, n, n))


def noisy_product(n: int, correlation: float, rng: np.random.Generator, noise: float) -> np.ndarray:
    """Strength times sensitivity, with noise in proportion."""
    strength, sensitivity = factors(n, correlation, rng)
    return strength * sensitivity * np.exp(noise * rng.normal(size=(REPEATS, n, n)))


def beyond_controls(n: int, correlation: float, rng: np.random.Generator, noise: float) -> np.ndarray:
    """A product with control sets subtracted that are stronger than half of the sets."""
    strength, sensitivity = factors(n, correlation, rng)
    return (strength - 1) * sensitivity + noise * rng.normal(size=(REPEATS, n, n))


def rejects(test, matrices: np.ndarray) -> int:
    return int((test(matrices, ORDERS[matrices.shape[1]], 1e-11) <= 0.05).sum())


@pytest.mark.parametrize("n", [4, 5, 8])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5], ids=lambda noise: f"noise{noise}")
@pytest.mark.parametrize("origin", [product, noisy_product, beyond_controls, additive], ids=lambda f: f.__name__)
def test_products_and_sums_are_not_significant(origin, noise, correlation, n):
    rng = np.random.default_rng([n, int(10 * correlation), int(10 * noise)])
    assert rejects(multiplicative_p_values, origin(n, correlation, rng, noise)) <= MOST


def test_the_additive_test_alone_takes_a_product_for_a_diagonal():
    rates = [
        rejects(additive_p_values, product(5, correlation, np.random.default_rng(0), 0.1)) / REPEATS
        for correlation in (0, 0.5, 0.9)
    ]
    assert rates[0] < 0.08
    assert rates[1] > 0.12
    assert rates[2] > 0.4


@pytest.mark.parametrize("heavy", [False, True], ids=["normal", "heavy"])
def test_noise_is_significant_in_one_of_twenty(heavy):
    rng = np.random.default_rng(0)
    noise = rng.standard_t(2, size=(REPEATS, 5, 5)) if heavy else rng.normal(size=(REPEATS, 5, 5))
    assert rejects(additive_p_values, noise) <= MOST
    assert rejects(multiplicative_p_values, noise) <= MOST


@pytest.mark.parametrize(("n", "effect", "rate"), [(4, 4, 0.3), (5, 2, 0.65), (8, 1, 0.5)])
def test_a_planted_diagonal_is_found(n, effect, rate):
    rng = np.random.default_rng(n)
    noise = rng.normal(size=(REPEATS, n, n))
    assert rejects(multiplicative_p_values, noise + effect * np.eye(n)) >= rate * REPEATS
    strength, sensitivity = factors(n, 0.9, rng)
    specific = strength * sensitivity * (1 + np.eye(n)) * np.exp(0.1 * noise)
    assert rejects(multiplicative_p_values, specific) >= rate * REPEATS


def test_p_values_are_counted_over_relabellings():
    matrix = np.random.default_rng(0).normal(size=(5, 5)) + np.eye(5)
    interaction = centred(matrix[None])[0]
    left, size, right = np.linalg.svd(interaction)
    rest = interaction - size[0] * np.outer(left[:, 0], right[0])
    free = [np.eye(5) - 0.2 - np.outer(side, side) for side in (left[:, 0], right[0])]
    sums, ratios = [], []
    for order in itertools.permutations(range(5)):
        permutation = np.eye(5)[list(order)]
        sums.append((interaction * permutation).sum())
        ratios.append((rest * permutation).sum() / np.linalg.norm(free[0] @ permutation @ free[1]))
    orders = relabellings(5, 1000, 0)
    assert additive_p_values(matrix[None], orders, 1e-12) == pytest.approx(np.mean(np.array(sums) >= sums[0] - 1e-9))
    on_changes = np.mean(np.array(ratios) >= ratios[0] - 1e-9)
    assert multiplicative_p_values(matrix[None], orders, 1e-12) >= on_changes - 1e-12
    flat = scaled(matrix[None])[0]
    np.testing.assert_allclose((flat**2).mean(0), 1, rtol=1e-6)
    np.testing.assert_allclose((flat**2).mean(1), 1, rtol=1e-3)


def test_relabellings_begin_with_the_given_order():
    assert len(relabellings(5, 1000, 0)) == 120
    drawn = relabellings(9, 50, 0)
    assert drawn[0].tolist() == list(range(9))
    assert drawn.shape == (51, 9)
    assert all(sorted(row) == list(range(9)) for row in drawn.tolist())


def test_lesions_without_effect_are_not_significant():
    assert multiplicative_p_values(np.zeros((1, 5, 5)), ORDERS[5], 1e-12) == 1
    matrix = np.random.default_rng(0).normal(size=(1, 5, 5))
    matrix[:, 2] = 0  # the lesion of one tag changes nothing
    assert 0 < multiplicative_p_values(matrix, ORDERS[5], 1e-12)[0] <= 1


@pytest.mark.parametrize("n", [2, 3])
def test_few_tags_cannot_be_told_from_a_product(n):
    matrix = np.eye(n) * 100 + np.random.default_rng(0).normal(size=(n, n))
    assert multiplicative_p_values(matrix[None], relabellings(n, 100, 0), 1e-12) == 1
    assert smallest_detectable(matrix, permutations=100, alpha=0.05, seed=0, slack=1e-12) is None


@pytest.mark.parametrize(("n", "origin"), [(5, additive), (5, product), (7, additive)], ids=["sum", "product", "many"])
def test_an_effect_of_the_smallest_detectable_size_is_found_in_four_of_five_runs(n, origin):
    """Each of 20 runs states its size; it is planted in 300 other runs of the same origin."""
    rng = np.random.default_rng(1)
    options = {"permutations": 199, "alpha": 0.05, "seed": 0, "slack": 1e-12}
    matrices = origin(n, 0.3, rng, 1.0)
    orders, fresh = relabellings(n, 199, 0), matrices[100:]

    def power(effect: float) -> float:
        planted = fresh + effect * np.eye(n)
        p_values = [test(planted, orders, 1e-12) for test in (additive_p_values, multiplicative_p_values)]
        return float((np.maximum(*p_values) <= 0.05).mean())

    powers = [power(smallest_detectable(matrix, **options)) for matrix in matrices[:20]]
    assert 0.7 <= np.mean(powers) <= 0.9
    assert power(0.0) <= 0.05


def test_the_smallest_detectable_effect_follows_the_noise():
    matrix = np.random.default_rng(2).normal(size=(5, 5))
    options = {"permutations": 1000, "alpha": 0.05, "seed": 0, "slack": 1e-12}
    size = smallest_detectable(matrix, **options)
    assert smallest_detectable(10 * matrix, **options) == pytest.approx(10 * size, rel=0.05)
    assert smallest_detectable(matrix + 5 * np.eye(5), **options) == pytest.approx(size, rel=0.05)
    assert smallest_detectable(matrix, **{**options, "alpha": 0.01}) > size
    assert smallest_detectable(matrix, **{**options, "alpha": 0.001}) is None  # p is at least 1/120
    assert advantage(matrix + 5 * np.eye(5)) == pytest.approx(advantage(matrix) + 5)
