"""How far the key-neuron sets of the tags overlap, and how far they would by chance."""

from __future__ import annotations

from collections import Counter

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.records import NeuronSets, Overlap


def overlap(sets: NeuronSets) -> Overlap:
    """Compare every pair of tags; a tag with itself is on the diagonal.

    Coefficient ``|A and B| / min(|A|, |B|)``, Jaccard ``|A and B| / |A or B|``. Under the null both sets are drawn
    without replacement, with as many neurons in every layer as they have: the count is a sum of independent
    hypergeometric variables, one a layer. That sets of different tags come from the same words is ignored.

    Returns:
        The matrices, tags in alphabetical order.

    Raises:
        ValueError: If there is no tag or a tag has no neuron.
    """
    tags = tuple(sorted(sets))
    members = [frozenset(sets.columns(tag)) for tag in tags]
    if not all(members) or not tags:
        raise ValueError(f"every tag needs a neuron, got {dict(zip(tags, map(len, members), strict=True))}")
    size = np.array([len(columns) for columns in members])
    count = np.array([[len(a & b) for b in members] for a in members])
    by_layer = np.array([_per_layer(sets, tag) for tag in tags])
    return Overlap(
        tags=tags,
        count=count,
        coefficient=count / np.minimum.outer(size, size),
        jaccard=count / (np.add.outer(size, size) - count),
        expected=by_layer @ by_layer.T / sets.neurons_per_layer,
        p_value=_p_values(count, by_layer, sets.neurons_per_layer),
    )


def chance_of_at_least(
    count: int, first: Int[ndarray, " layers"], second: Int[ndarray, " layers"], neurons_per_layer: int
) -> float:
    """Probability that random sets with these numbers of neurons in every layer share ``count`` neurons or more."""
    from scipy.stats import hypergeom

    pmf = np.ones(1)
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        if a and b:
            pmf = np.convolve(pmf, hypergeom.pmf(np.arange(min(a, b) + 1), neurons_per_layer, a, b))
    return min(1.0, float(pmf[count:].sum())) if count else 1.0


def mean_off_diagonal(matrix: Float[ndarray, "tags tags"]) -> float:
    """Average over the pairs of different tags.

    Returns:
        The mean of all entries that are not on the diagonal.

    Raises:
        ValueError: If there are fewer than 2 tags.
    """
    if len(matrix) < 2:
        raise ValueError(f"a pair needs at least 2 tags, got {len(matrix)}")
    return float(matrix[~np.eye(len(matrix), dtype=bool)].mean())


def _per_layer(sets: NeuronSets, tag: str) -> list[int]:
    found = Counter(neuron.layer for neuron in sets.tags[tag])
    return [found[layer] for layer in sets.layers]


def _p_values(
    count: Int[ndarray, "tags tags"], by_layer: Int[ndarray, "tags layers"], neurons_per_layer: int
) -> Float[ndarray, "tags tags"]:
    p_values = np.empty(count.shape)
    for i, j in zip(*np.triu_indices(len(count)), strict=True):
        p_values[i, j] = p_values[j, i] = chance_of_at_least(
            int(count[i, j]), by_layer[i], by_layer[j], neurons_per_layer
        )
    return p_values
