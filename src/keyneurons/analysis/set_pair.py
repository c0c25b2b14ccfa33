"""Two collections of neuron sets: what each has alone, and what they share beside chance."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from keyneurons.analysis.multiple_tests import adjusted_p_values
from keyneurons.analysis.overlap import chance_of_at_least
from keyneurons.analysis.set_agreement import check_alike
from keyneurons.analysis.stability import expected_jaccard
from keyneurons.records import NeuronSets

T = TypeVar("T")

Members = Sequence[tuple[int, int]]
"""Neurons as layer and index."""


@dataclass(frozen=True)
class Shared:
    """Sizes of two sets, what they share, and the same for random sets of these sizes by layer.

    ``coefficient`` is the overlap coefficient. ``p_value`` is the probability that random sets
    share at least as many neurons; ``p_adjusted`` is corrected over the tags by Benjamini-Hochberg,
    and None where a set is empty or nothing is corrected. Ratios are None without neurons to divide
    by.
    """

    first: int
    second: int
    shared: int
    expected: float
    jaccard: float | None
    expected_jaccard: float | None
    coefficient: float | None
    p_value: float
    p_adjusted: float | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rank of a neuron in a tag's set, from 1, and its score."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class PairedNeuron:
    """A neuron of either set; None where it is not in a set."""

    layer: int
    neuron: int
    first: Ranked | None
    second: Ranked | None

    @property
    def same_sign(self) -> bool:
        """Whether both sets have the neuron, with scores of equal sign."""
        if self.first is None or self.second is None:
            return False
        return bool(np.sign(self.first.score) == np.sign(self.second.score))


@dataclass(frozen=True)
class TagPair:
    """The two sets of a tag, and their neurons: shared ones first, each by rank.

    ``same_sign`` is the number of shared neurons whose scores have the same sign, or None if the
    scores of a collection have no negative values, as those of unsigned methods.
    """

    counts: Shared
    neurons: tuple[PairedNeuron, ...]
    same_sign: int | None


@dataclass(frozen=True)
class SetPair:
    """Two collections of sets on their common layers, by common tag, and the unions over the tags.

    ``other_layers`` and ``other_tags`` are those of only the first and only the second collection.
    The neurons of the unions are given as layer and index.
    """

    layers: tuple[int, ...]
    other_layers: tuple[tuple[int, ...], tuple[int, ...]]
    tags: Mapping[str, TagPair]
    other_tags: tuple[tuple[str, ...], tuple[str, ...]]
    union: Shared
    union_neurons: Mapping[str, tuple[tuple[int, int], ...]]


def pair_of_sets(first: NeuronSets, second: NeuronSets) -> SetPair:
    """Compare the sets of two runs, tag by tag, on the layers that both read.

    By chance, both sets are drawn without replacement with their number of neurons in every layer.
    The null ignores that runs may use the same words, and that for one method a smaller set is part
    of a larger one. Ranks are those in the whole set of a tag, over all layers.

    Returns:
        The comparison, tags in alphabetical order.

    Raises:
        ValueError: If the runs differ in site or width, or have no common layer or tag.
    """
    check_alike({"the first": first, "the second": second})
    layers = tuple(sorted(set(first.layers) & set(second.layers)))
    names = sorted(set(first) & set(second))
    if not layers or not names:
        what, own = ("tag", (first, second)) if layers else ("layer", (first.layers, second.layers))
        listed = [", ".join(map(str, values)) or "none" for values in own]
        raise ValueError(f"the runs have no {what} in common: {listed[0]} against {listed[1]}")
    signed = all(any(n.score < 0 for own in sets.tags.values() for n in own) for sets in (first, second))
    tags = {name: _tag_pair(first, second, name, layers, signed) for name in names}
    a, b = (
        {(n.layer, n.neuron) for tag in names for n in sets.tags[tag] if n.layer in layers} for sets in (first, second)
    )
    return SetPair(
        layers,
        (_without(first.layers, layers), _without(second.layers, layers)),
        _adjusted(tags),
        (_without(first, names), _without(second, names)),
        _shared(sorted(a), sorted(b), layers, first.neurons_per_layer),
        {"both": tuple(sorted(a & b)), "first": tuple(sorted(a - b)), "second": tuple(sorted(b - a))},
    )


def _without(values: Iterable[T], common: Collection[T]) -> tuple[T, ...]:
    return tuple(value for value in values if value not in common)


def _adjusted(tags: Mapping[str, TagPair]) -> dict[str, TagPair]:
    """Adjust the p-values of the tags whose sets both have neurons."""
    tested = {tag: pair.counts.p_value for tag, pair in tags.items() if pair.counts.first and pair.counts.second}
    by_tag = adjusted_p_values(tested)
    return {tag: replace(pair, counts=replace(pair.counts, p_adjusted=by_tag.get(tag))) for tag, pair in tags.items()}


def _tag_pair(first: NeuronSets, second: NeuronSets, tag: str, layers: tuple[int, ...], signed: bool) -> TagPair:
    ranked = [
        {
            (n.layer, n.neuron): Ranked(rank, n.score)
            for rank, n in enumerate(sets.tags[tag], start=1)
            if n.layer in layers
        }
        for sets in (first, second)
    ]
    a, b = ranked
    order = [*(key for key in a if key in b), *(key for key in a if key not in b), *(key for key in b if key not in a)]
    neurons = tuple(PairedNeuron(*key, a.get(key), b.get(key)) for key in order)
    same_sign = sum(neuron.same_sign for neuron in neurons) if signed else None
    return TagPair(_shared(list(a), list(b), layers, first.neurons_per_layer), neurons, same_sign)


def _shared(first: Members, second: Members, layers: tuple[int, ...], width: int) -> Shared:
    a, b = (np.array([sum(n[0] == layer for n in members) for layer in layers]) for members in (first, second))
    shared, smaller = len(set(first) & set(second)), min(len(first), len(second))
    either = len(first) + len(second) - shared
    return Shared(
        len(first),
        len(second),
        shared,
        expected=float(a @ b / width),
        jaccard=shared / either if either else None,
        expected_jaccard=expected_jaccard(a, b, width) if either else None,
        coefficient=shared / smaller if smaller else None,
        p_value=chance_of_at_least(shared, a, b, width),
    )
