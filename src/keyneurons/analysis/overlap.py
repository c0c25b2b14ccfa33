"""Overlap of the key-neuron sets of tags, observed and expected by chance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.analysis.multiple_tests import adjusted_p_values
from keyneurons.metrics import MEAN_COEFFICIENT, MEAN_COUNT, MEAN_JACCARD
from keyneurons.records import NeuronSets


@dataclass(frozen=True)
class Overlap:
    """Overlap of each pair of tags; every matrix is ``[tags, tags]``, nan if a set is empty.

    ``p_value`` is the probability of a count at least this large for random sets with the same
    number of neurons in every layer; ``expected`` is the mean count under the same null.
    """

    tags: tuple[str, ...]
    count: Int[ndarray, "tags tags"]
    coefficient: Float[ndarray, "tags tags"]
    jaccard: Float[ndarray, "tags tags"]
    expected: Float[ndarray, "tags tags"]
    p_value: Float[ndarray, "tags tags"]

    @property
    def p_adjusted(self) -> Float[ndarray, "tags tags"]:
        """p-values of the pairs of different tags, adjusted over them by Benjamini & Hochberg 1995.

        nan on the diagonal.
        """
        pairs = list(zip(*np.triu_indices(len(self.tags), 1), strict=True))
        adjusted = np.full(self.p_value.shape, np.nan)
        for (i, j), value in adjusted_p_values({pair: float(self.p_value[pair]) for pair in pairs}).items():
            adjusted[i, j] = adjusted[j, i] = value
        return adjusted

    def metrics(self) -> dict[str, float]:
        """Means over pairs of tags; coefficient and Jaccard need two tags with non-empty sets."""
        means = {
            MEAN_COUNT: mean_off_diagonal(self.count.astype(float)),
            "overlap/mean_expected_count": mean_off_diagonal(self.expected),
        }
        if (self.count.diagonal() > 0).sum() > 1:
            means[MEAN_COEFFICIENT] = mean_off_diagonal(self.coefficient)
            means[MEAN_JACCARD] = mean_off_diagonal(self.jaccard)
        return means


def overlap(sets: NeuronSets) -> Overlap:
    """Compare every pair of tags; the diagonal compares a tag with itself.

    Coefficient ``|A and B| / min(|A|, |B|)``, Jaccard ``|A and B| / |A or B|``. Under the null,
    both sets are drawn without replacement with their number of neurons in every layer: the count
    is a sum of independent hypergeometric variables, one per layer. The null ignores that sets of
    different tags are selected on the same words. Sets may be empty: their coefficients are nan, as
    is the Jaccard of two empty sets; count and expectation are 0, so the p-value is 1.

    Returns:
        The matrices, tags in alphabetical order.

    Raises:
        ValueError: If there are no tags.
    """
    tags = tuple(sorted(sets))
    if not tags:
        raise ValueError("an overlap needs at least 1 tag, got 0")
    members = [frozenset(sets.columns(tag)) for tag in tags]
    size = np.array([len(columns) for columns in members])
    count = np.array([[len(a & b) for b in members] for a in members])
    by_layer = np.array([neurons_by_layer(sets, tag) for tag in tags])
    return Overlap(
        tags=tags,
        count=count,
        coefficient=_ratio(count, np.minimum.outer(size, size)),
        jaccard=_ratio(count, np.add.outer(size, size) - count),
        expected=by_layer @ by_layer.T / sets.neurons_per_layer,
        p_value=_p_values(count, by_layer, sets.neurons_per_layer),
    )


def neurons_by_layer(sets: NeuronSets, tag: str) -> Int[ndarray, " layers"]:
    """Number of neurons of a tag's set in every layer."""
    counts = Counter(neuron.layer for neuron in sets.tags[tag])
    return np.array([counts[layer] for layer in sets.layers])


def shared_count_pmf(by_layer: Int[ndarray, "sets layers"], neurons_per_layer: int) -> Float[ndarray, " counts"]:
    """Distribution of the number of neurons that all of several random sets share.

    Each set is drawn without replacement with its number of neurons in every layer. The count is a
    sum of independent variables, one per layer; in a layer, what one more set shares with the
    neurons that the previous sets share is hypergeometric.

    Returns:
        The probability of every count from 0 to the maximum.

    Raises:
        ValueError: If there are fewer than 2 sets, or a layer has fewer neurons than required.
    """
    if len(by_layer) < 2:
        raise ValueError(f"sharing needs at least 2 sets, got {len(by_layer)}")
    if by_layer.min(initial=0) < 0 or by_layer.max(initial=0) > neurons_per_layer:
        raise ValueError(f"numbers of neurons per layer must lie in 0..{neurons_per_layer}, got {by_layer.tolist()}")
    pmf = np.ones(1)
    for sizes in np.sort(by_layer, axis=0).T.tolist():
        if all(sizes):
            pmf = np.convolve(pmf, _shared_by_all(tuple(sizes), neurons_per_layer))
    return pmf


def chance_of_at_least(count: int, by_layer: Int[ndarray, "sets layers"], neurons_per_layer: int) -> float:
    """Probability that all of several random sets share at least ``count`` neurons."""
    if not count:
        return 1.0
    return min(1.0, float(shared_count_pmf(by_layer, neurons_per_layer)[count:].sum()))


def mean_off_diagonal(matrix: Float[ndarray, "tags tags"]) -> float:
    """Mean over the pairs of different tags, ignoring nan.

    Returns:
        The mean of all off-diagonal entries that are not nan.

    Raises:
        ValueError: If there are fewer than 2 tags, or every pair is nan.
    """
    if len(matrix) < 2:
        raise ValueError(f"a pair needs at least 2 tags, got {len(matrix)}")
    pairs = matrix[~np.eye(len(matrix), dtype=bool)]
    if np.isnan(pairs).all():
        raise ValueError(f"a mean needs a pair of tags that is not nan, got only nan for {len(matrix)} tags")
    return float(pairs[~np.isnan(pairs)].mean())


@lru_cache(maxsize=4096)  # many tags and resamples share the same few set sizes
def _shared_by_all(sizes: tuple[int, ...], neurons_per_layer: int) -> Float[ndarray, " counts"]:
    """The distribution in one layer; sizes ascend."""
    from scipy.stats import hypergeom

    smallest, second, *others = sizes
    counts = np.arange(smallest + 1)
    pmf: Float[ndarray, " counts"] = hypergeom.pmf(counts, neurons_per_layer, second, smallest)
    for size in others:
        pmf = pmf @ np.stack([hypergeom.pmf(counts, neurons_per_layer, size, shared) for shared in counts])
    pmf.setflags(write=False)
    return pmf


def _ratio(part: Int[ndarray, "tags tags"], whole: Int[ndarray, "tags tags"]) -> Float[ndarray, "tags tags"]:
    """Element-wise quotient; nan where the denominator is 0."""
    ratio = np.full(part.shape, np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _p_values(
    count: Int[ndarray, "tags tags"], by_layer: Int[ndarray, "tags layers"], neurons_per_layer: int
) -> Float[ndarray, "tags tags"]:
    p_values = np.empty(count.shape)
    for i, j in zip(*np.triu_indices(len(count)), strict=True):
        p_values[i, j] = p_values[j, i] = chance_of_at_least(int(count[i, j]), by_layer[[i, j]], neurons_per_layer)
    return p_values
