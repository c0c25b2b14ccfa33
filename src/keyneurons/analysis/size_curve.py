"""Accuracy as a function of the number of neurons: grid of sizes, nested sets, size of a target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

SMALLEST = 8  # neurons of the smallest set, unless there are fewer


def grid_of_sizes(n_neurons: int, n_sizes: int) -> Int[ndarray, " sizes"]:
    """Sizes on a geometric grid from 8 to all neurons; sizes that round to the same are one."""
    grid = np.geomspace(min(SMALLEST, n_neurons), n_neurons, n_sizes)
    return np.unique(grid.round().astype(np.int64))


def first_by_rank(rankings: Sequence[Sequence[int]], n: int) -> Int[ndarray, " n"]:
    """The first n distinct neurons: rank 1 of every ranking, then rank 2, and so on.

    Within a rank, rankings come in order. Rankings with too few neurons give fewer.

    Returns:
        The neurons, ascending.
    """
    depth = max(map(len, rankings), default=0)
    in_order = (ranking[rank] for rank in range(depth) for ranking in rankings if rank < len(ranking))
    return np.array(sorted(list(dict.fromkeys(in_order))[:n]), dtype=np.int64)


def size_reaching(
    sizes: Int[ndarray, " sizes"], accuracies: Float[ndarray, "curves sizes"], targets: Float[ndarray, " curves"]
) -> Float[ndarray, " curves"]:
    """The size at which each curve reaches its target.

    A curve is the highest accuracy up to each size, linear over the logarithm of the size.

    Returns:
        The sizes; the smallest size if it reaches the target, and the largest if no size does.
    """
    best = np.maximum.accumulate(accuracies, axis=1)
    reached = best >= targets[:, None]
    above = np.where(reached.any(axis=1), reached.argmax(axis=1), len(sizes) - 1)
    below, row = np.maximum(above - 1, 0), np.arange(len(best))
    rise = best[row, above] - best[row, below]
    share = np.divide(targets - best[row, below], rise, out=np.ones_like(rise), where=rise > 0).clip(0, 1)
    log = np.log(sizes)
    at: ndarray = np.exp(log[below] + share * (log[above] - log[below]))
    return np.where(share < 1, at, sizes[above])  # without rounding errors at the ends
