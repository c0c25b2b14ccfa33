"""Control sets matched in a covariate: neurons of similar variance or firing frequency."""

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
    """Draw control sets matched to a set neuron by neuron, in layer and covariate.

    The candidates for a neuron are the ``pool`` other neurons of its layer nearest in rank of the
    covariate, ties to the lower column. Each set takes one candidate per neuron, without
    duplicates; if all candidates are taken, the next nearest neuron. Neurons of the given set and
    of ``exclude`` are never candidates. The i-th set depends only on the seed and i.

    Returns:
        The columns of each set, ascending and without duplicates, with as many neurons in every
        layer as the given set.

    Raises:
        ValueError: If a column is out of range or repeated, the covariate is not finite, ``n_sets``
            or ``pool`` is below 1, or a layer has too few other neurons.
    """
    own = _checked(columns, covariate, neurons_per_layer)
    if n_sets < 1 or pool < 1:
        raise ValueError(f"n_sets and pool must be at least 1, got {n_sets} and {pool}")
    excluded = np.union1d(own, np.fromiter(exclude, dtype=np.int64, count=len(exclude)))
    near = {}
    for layer in np.unique(own // neurons_per_layer):
        here = np.arange(layer * neurons_per_layer, (layer + 1) * neurons_per_layer)
        rank = np.argsort(np.argsort(covariate[here], kind="stable"), kind="stable")
        free = ~np.isin(here, excluded)
        of_layer = own[own // neurons_per_layer == layer]
        if free.sum() < len(of_layer):
            raise ValueError(f"layer {layer} needs {len(of_layer)} other neurons to match, got {free.sum()}")
        for column in of_layer:
            distance = np.abs(rank[free] - rank[column - here[0]])
            near[int(column)] = here[free][np.argsort(distance, kind="stable")]
    return np.stack([_draw(near, pool, np.random.default_rng([seed, i])) for i in range(n_sets)])


def match_quality(
    columns: Sequence[int],
    sets: Int[ndarray, "sets own"],
    covariate: Float[ndarray, " neurons"],
    neurons_per_layer: int,
) -> float:
    """Mean difference in covariate rank between control sets and a set, from 0 (identical) to 1.

    In every layer, the sorted ranks of the set and of a control set, as shares of the layer, are
    subtracted pairwise; the result is the mean magnitude over neurons and sets. Random controls of
    a set at the top of its layers have a difference of about one half, those of a set spread over
    its layers a small one.

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
        raise ValueError(f"columns must be distinct and lie in 0..{len(covariate) - 1}, got {sorted(columns)}")
    if not len(columns):
        raise ValueError("a set to match needs at least 1 neuron, got 0")
    return np.array(sorted(columns), dtype=np.int64)
