"""Tests of the diagonal of a matrix of lesioned by measured tags, and their power.

The null distribution renames the measured tags. It preserves row and column effects (strong sets,
sensitive tags), but not their product: if the strong sets belong to the sensitive tags, a product
alone makes the diagonal large. The multiplicative test removes one product as well.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

MOST_ORDERS = 50_000  # maximum number of enumerated permutations: enough for 8 tags
LEAST_TAGS = 4  # with fewer tags, row and column effects and a product explain nearly any matrix
ROUNDING = 1e-12  # tolerance for ties, relative to the changes
SCALINGS = 20  # rounds of scaling rows and columns in turn
POWER = 0.8
SIMULATED = 200  # matrices without an effect, for the power
PRECISION = 0.02  # relative precision of the smallest detectable effect
DOUBLINGS = 40


def relabellings(n: int, permutations: int, seed: int) -> Int[ndarray, "orders tags"]:
    """All orders of ``n`` tags, or ``permutations`` random ones; the given order comes first."""
    if math.factorial(n) <= min(permutations, MOST_ORDERS):
        return np.array(list(itertools.permutations(range(n))))
    rows = np.tile(np.arange(n), (1 + permutations, 1))
    rows[1:] = np.random.default_rng(seed).permuted(rows[1:], axis=1)
    return rows


def additive_p_values(
    matrices: Float[ndarray, "matrices tags tags"], orders: Int[ndarray, "orders tags"], slack: float
) -> Float[ndarray, " matrices"]:
    """Share of relabellings whose diagonal is at least as large, row and column effects removed.

    ``slack`` is the tolerance for ties.
    """
    return _shares(_diagonals(centred(matrices), orders), slack)


def multiplicative_p_values(
    matrices: Float[ndarray, "matrices tags tags"], orders: Int[ndarray, "orders tags"], slack: float
) -> Float[ndarray, " matrices"]:
    """The same with the product of a row and a column effect removed as well.

    The largest singular component is subtracted from the matrix without row and column effects
    (AMMI-1, Gollob 1968, Psychometrika 33:73), and every relabelled diagonal is divided by its
    standard deviation under equal noise. The test is done twice: on the changes, where noise may be
    equal in all cells, and with rows and columns scaled to equal mean squares, where it may be
    proportional to the changes. The larger p-value counts. It is 1 for fewer than four tags.
    """
    n = matrices.shape[-1]
    if n < LEAST_TAGS:
        return np.ones(len(matrices))
    exact = np.where(np.abs(matrices) > slack, matrices, 0.0)
    relative = ROUNDING * n * n
    on_scales = _rank_one_p_values(matrices, orders, slack), _rank_one_p_values(scaled(exact), orders, relative)
    p_values: Float[ndarray, " matrices"] = np.maximum(*on_scales)
    return p_values


def smallest_detectable(
    matrix: Float[ndarray, "tags tags"], *, permutations: int, alpha: float, seed: int, slack: float
) -> float | None:
    """Smallest diagonal advantage that both tests find together with a power of 80 %.

    Simulated matrices have the row and column effects of this one; their other entries are drawn
    with replacement from those of this one without row and column effects and without the mean
    diagonal advantage, at noise levels drawn for the ``n (n - 2)`` degrees of freedom left. The
    same effect is added to every diagonal entry, and the smallest one is searched for which both
    p-values are at most ``alpha`` in 80 % of the matrices. It assumes that effects of sets on
    single tags, and the noise, are alike in all entries; a product of row and column effects counts
    as noise, which makes the answer larger.

    Returns:
        The effect in bits per word; None if no effect could be significant.
    """
    n = len(matrix)
    if n < LEAST_TAGS or 1 / len(relabellings(n, permutations, seed)) > alpha:
        return None
    orders = relabellings(n, min(permutations, max(500, math.ceil(10 / alpha))), seed)
    empty = matrix - advantage(matrix) * np.eye(n)
    rest = centred(empty[None])[0]
    rng, freedom = np.random.default_rng(seed + 1), n * (n - 2)
    level = n / np.sqrt(rng.chisquare(freedom, (SIMULATED, 1, 1)))
    without = empty - rest + level * rng.choice(rest.ravel(), (SIMULATED, n, n))

    def is_found(effect: float) -> bool:
        found = _both(without + effect * np.eye(n), orders, slack) <= alpha
        return bool(found.mean() >= POWER)

    low, high = 0.0, max(float(np.abs(rest).mean()), slack)
    for _ in range(DOUBLINGS):
        if is_found(high):
            break
        low, high = high, 2 * high
    else:
        return None
    while high - low > PRECISION * high and high > slack:
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def advantage(matrix: Float[ndarray, "tags tags"]) -> float:
    """Mean of the diagonal minus the mean of the other entries."""
    n = len(matrix)
    return float((matrix * contrast(n)).sum())


def contrast(n: int) -> Float[ndarray, "tags tags"]:
    """Weights of the entries in the diagonal advantage."""
    return np.where(np.eye(n, dtype=bool), 1 / n, -1 / (n * (n - 1)))


def centred(matrices: Float[ndarray, "matrices tags tags"]) -> Float[ndarray, "matrices tags tags"]:
    """Remove row and column effects."""
    rows, columns = matrices.mean(2, keepdims=True), matrices.mean(1, keepdims=True)
    interaction: Float[ndarray, "matrices tags tags"] = matrices - rows - columns + matrices.mean((1, 2), keepdims=True)
    return interaction


def scaled(matrices: Float[ndarray, "matrices tags tags"]) -> Float[ndarray, "matrices tags tags"]:
    """Scale rows and columns in turn to a mean square of 1 (rows and columns of zeros stay)."""
    for _ in range(SCALINGS):
        for axis in (2, 1):
            norm = np.sqrt((matrices**2).mean(axis, keepdims=True))
            matrices = np.divide(matrices, norm, out=np.zeros_like(matrices), where=norm > 0)
    return matrices


def _both(
    matrices: Float[ndarray, "matrices tags tags"], orders: Int[ndarray, "orders tags"], slack: float
) -> Float[ndarray, " matrices"]:
    p_values: Float[ndarray, " matrices"] = np.maximum(
        additive_p_values(matrices, orders, slack), multiplicative_p_values(matrices, orders, slack)
    )
    return p_values


def _rank_one_p_values(
    matrices: Float[ndarray, "matrices tags tags"], orders: Int[ndarray, "orders tags"], slack: float
) -> Float[ndarray, " matrices"]:
    n = matrices.shape[-1]
    interaction = centred(matrices)
    left, size, right = np.linalg.svd(interaction)
    u, v = left[:, :, 0], right[:, 0]
    rest = interaction - size[:, :1, None] * u[:, :, None] * v[:, None, :]
    matched = np.einsum("mi,moi->mo", u, v[:, orders])  # u' P v for the permutation matrix P of every order
    variance = n - 3 + matched**2  # squared norm of P without row and column means, u and v
    return _shares(_diagonals(rest, orders) / np.sqrt(variance), slack)


def _diagonals(
    matrices: Float[ndarray, "matrices tags tags"], orders: Int[ndarray, "orders tags"]
) -> Float[ndarray, "matrices orders"]:
    """Sum of the diagonal of every matrix in every order of its columns."""
    sums: Float[ndarray, "matrices orders"] = matrices[:, np.arange(matrices.shape[-1]), orders].sum(axis=2)
    return sums


def _shares(diagonals: Float[ndarray, "matrices orders"], slack: float) -> Float[ndarray, " matrices"]:
    shares: Float[ndarray, " matrices"] = (diagonals >= diagonals[:, :1] - slack).mean(axis=1)
    return shares
