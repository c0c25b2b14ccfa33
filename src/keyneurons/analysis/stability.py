"""Stability of key-neuron sets under resampling, observed and expected by chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.analysis.overlap import neurons_by_layer, shared_count_pmf
from keyneurons.records import NeuronSets


@dataclass(frozen=True)
class Stability:
    """Mean Jaccard by tag over pairs of resamples, and its expectation for random sets."""

    jaccard: Mapping[str, float]
    expected: Mapping[str, float]

    def mean(self) -> float:
        """Mean Jaccard over the tags, unweighted; raises if there are no tags."""
        return _mean(self.jaccard)

    def mean_expected(self) -> float:
        """Mean expected Jaccard over the tags, unweighted; raises if there are no tags."""
        return _mean(self.expected)


def stability(pairs: Sequence[tuple[NeuronSets, NeuronSets]]) -> Stability:
    """Average the similarity of sets over pairs of resamples, tag by tag.

    Over all pairs of resamples this is the average pairwise similarity of Nogueira, Sechidis &
    Brown 2018 (JMLR 18:174) with Jaccard as similarity. Jaccard increases with set size by chance,
    so compare it with its expectation. Order and scores within a set are ignored. The mean of a tag
    is over the pairs in which ``jaccard`` is defined; tags without such a pair are omitted.

    Returns:
        Means over the pairs, tags in alphabetical order.

    Raises:
        ValueError: If there are no pairs.
    """
    if not pairs:
        raise ValueError("stability needs at least 1 pair of neuron sets, got 0")
    return Stability(
        jaccard=_means_by_tag([jaccard(a, b) for a, b in pairs]),
        expected=_means_by_tag([expected_jaccards(a, b) for a, b in pairs]),
    )


def jaccard(a: NeuronSets, b: NeuronSets) -> dict[str, float]:
    """Jaccard index ``|A and B| / |A or B|`` of each common tag, unless both its sets are empty."""

    def of_tag(tag: str) -> float:
        first, second = ({(neuron.layer, neuron.neuron) for neuron in sets.tags[tag]} for sets in (a, b))
        return len(first & second) / len(first | second)

    return _by_tag(a, b, of_tag)


def expected_jaccards(a: NeuronSets, b: NeuronSets) -> dict[str, float]:
    """Expected Jaccard index of random sets of the same sizes by layer, for each tag."""
    return _by_tag(
        a,
        b,
        lambda tag: expected_jaccard(neurons_by_layer(a, tag), neurons_by_layer(b, tag), a.neurons_per_layer),
    )


def expected_jaccard(first: Int[ndarray, " layers"], second: Int[ndarray, " layers"], neurons_per_layer: int) -> float:
    """Expected Jaccard index of two independent random sets of these sizes by layer.

    ``sum_c P(c) c / (|A| + |B| - c)`` over the distribution of the shared count; exact.

    Returns:
        The expectation, in 0..1.

    Raises:
        ValueError: If both sets are empty, or a layer has fewer neurons than required.
    """
    total = int(first.sum() + second.sum())
    if not total:
        raise ValueError("a Jaccard index needs a non-empty set, got sizes 0 and 0")
    pmf = shared_count_pmf(np.stack([first, second]), neurons_per_layer)
    shared = np.arange(len(pmf))
    return float(pmf @ (shared / (total - shared)))


def _by_tag(a: NeuronSets, b: NeuronSets, of_tag: Callable[[str], float]) -> dict[str, float]:
    first, second = ((sets.site, sets.layers, sets.neurons_per_layer) for sets in (a, b))
    if first != second:
        raise ValueError(f"sets must share site, layers and width, got {first} and {second}")
    return {tag: of_tag(tag) for tag in sorted(set(a) & set(b)) if a.tags[tag] or b.tags[tag]}


def _means_by_tag(by_pair: Sequence[Mapping[str, float]]) -> dict[str, float]:
    tags = sorted({tag for values in by_pair for tag in values})
    return {tag: fmean(values[tag] for values in by_pair if tag in values) for tag in tags}


def _mean(by_tag: Mapping[str, float]) -> float:
    if not by_tag:
        raise ValueError("a mean needs a tag with a pair of neuron sets, got 0 tags")
    return fmean(by_tag.values())
