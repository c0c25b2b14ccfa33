"""Control sets that are alike in a covariate: neurons that vary, or fire, as the given ones do."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def matched_sets(
    columns: Sequence[int],
    covariate: Float[ndarray, " neurons"],
    neurons_per_layer: int,
    n_sets: int,
    seed: int,
    *,
    pool: int = 20,
    exclude: Collection[int] = (),
) -> Int[ndarray, "sets own"]:
    """Draw control sets that have, for each neuron of a set, another of its layer that is alike in a covariate.

    The candidates of a neuron are the ``pool`` others of its layer nearest in rank of the covariate, ties to the lower
    column. Each set takes one for each neuron, none twice; where all are taken, the next nearest. No neuron of the
    given set is a candidate, nor one of ``exclude``. The i-th set depends on the seed and i alone.

    Returns:
        The columns of each set, ascending and each once, as many of every layer as given.

    Raises:
        ValueError: If a column is out of range or stands twice, the covariate is not finite, ``n_sets`` or ``pool`` is
            below 1, or a layer has too few other neurons.
    """
    own = _checked(columns, covariate, neurons_per_layer)
    if n_sets < 1 or pool < 1:
        raise ValueError(f"n_sets and pool must be at least 1, got {n_sets} and {pool}")
    barred = np.union1d(own, np.fromiter(exclude, dtype=np.int64, count=len(exclude)))
    near = {}
    for layer in np.unique(own // neurons_per_layer):
        here = np.arange(layer * neurons_per_layer, (layer + 1) * neurons_per_layer)
        rank = np.argsort(np.argsort(covariate[here], kind="stable"), kind="stable")
        free = ~np.isin(here, barred)
        wanted = own[own // neurons_per_layer == layer]
        if free.sum() < len(wanted):
            raise ValueError(f"layer {layer} has {free.sum()} other neurons to match {len(wanted)} with")
        for column in wanted:
            distance = np.abs(rank[free] - rank[column - here[0]])
            near[int(column)] = here[free][np.argsort(distance, kind="stable")]
    return np.stack([_draw(near, pool, np.random.default_rng([seed, i])) for i in range(n_sets)])


def match_quality(
    columns: Sequence[int],
    sets: Int[ndarray, "sets own"],
    covariate: Float[ndarray, " neurons"],
    neurons_per_layer: int,
) -> float:
    """How far control sets are from a set in the distribution of a covariate, 0 (alike) to 1.

    In every layer the ranks of the set's neurons and of a control set's, both ascending, as shares of the layer, are
    subtracted one by one; the mean of the magnitudes, over neurons and sets. Random sets of a set at the top of its
    layer give about a half, those of one from anywhere little.

    Returns:
        The mean difference.
    """
    own = _checked(columns, covariate, neurons_per_layer)
    share = np.empty(len(covariate))
    for start in range(0, len(covariate), neurons_per_layer):
        here = slice(start, start + neurons_per_layer)
        share[here] = np.argsort(np.argsort(covariate[here], kind="stable"), kind="stable") / neurons_per_layer
    layer = own // neurons_per_layer
    difference = [
        np.abs(np.sort(share[own[layer == each]]) - np.sort(share[row[row // neurons_per_layer == each]]))
        for row in sets
        for each in np.unique(layer)
    ]
    return float(np.concatenate(difference).mean())


def _draw(near: dict[int, Int[ndarray, " others"]], pool: int, rng: np.random.Generator) -> Int[ndarray, " neurons"]:
    taken: set[int] = set()
    for column in rng.permutation(list(near)):
        free = [other for other in near[int(column)][: pool + len(taken)].tolist() if other not in taken]
        taken.add(int(rng.choice(free[:pool])))
    return np.array(sorted(taken))


def _checked(
    columns: Sequence[int], covariate: Float[ndarray, " neurons"], neurons_per_layer: int
) -> Int[ndarray, " n"]:
    if len(covariate) % neurons_per_layer or not np.isfinite(covariate).all():
        raise ValueError(
            f"a covariate needs a finite value for every neuron of each layer, got {len(covariate)} values"
        )
    if len(set(columns)) != len(columns) or not all(0 <= column < len(covariate) for column in columns):
        raise ValueError(f"columns must be different and lie in 0..{len(covariate) - 1}, got {sorted(columns)}")
    if not len(columns):
        raise ValueError("a set to match needs a neuron, got none")
    return np.array(sorted(columns), dtype=np.int64)
