"""Neuron sets of several runs: what each has alone, what they share, and what chance explains."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeVar

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.analysis.multiple_tests import adjusted_p_values
from keyneurons.analysis.overlap import chance_of_at_least
from keyneurons.analysis.set_agreement import check_alike
from keyneurons.analysis.stability import expected_jaccard
from keyneurons.records import NeuronSets

T = TypeVar("T")

Neuron = tuple[int, int]
"""A neuron as layer and index."""

Runs = tuple[int, ...]
"""Some of the runs by their position, ascending."""


@dataclass(frozen=True)
class Shared:
    """What some sets all share, and the same for random sets of these sizes by layer.

    ``p_value`` is the probability that random sets share at least as many neurons; ``p_adjusted``
    is corrected over the tags by Benjamini-Hochberg, and None where a set is empty or nothing is
    corrected. The ratios are of two sets: Jaccard index, its expectation and the overlap
    coefficient; None for more sets, or without neurons to divide by.
    """

    count: int
    expected: float
    p_value: float
    jaccard: float | None = None
    expected_jaccard: float | None = None
    coefficient: float | None = None
    p_adjusted: float | None = None


@dataclass(frozen=True)
class Counts:
    """Sizes of the sets of every run, neurons in its set alone, and what runs share.

    ``shared`` has every pair of runs, and all runs.
    """

    sizes: tuple[int, ...]
    alone: tuple[int, ...]
    shared: Mapping[Runs, Shared]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rank of a neuron in a tag's set, from 1, and its score."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class SharedNeuron:
    """A neuron of any run; ``ranked`` has one entry per run, None where its set lacks it."""

    layer: int
    neuron: int
    ranked: tuple[Ranked | None, ...]

    @property
    def runs(self) -> Runs:
        """The runs whose sets have the neuron."""
        return tuple(run for run, own in enumerate(self.ranked) if own is not None)

    @property
    def same_sign(self) -> bool:
        """Whether all runs have the neuron, with scores of equal sign."""
        return all(self.ranked) and len({np.sign(own.score) for own in self.ranked if own is not None}) == 1


@dataclass(frozen=True)
class TagSets:
    """The sets of a tag, and their neurons: those of most runs first, each by rank.

    ``same_sign`` is the number of neurons shared by all runs whose scores have the same sign, or
    None if the scores of a run have no negative values, as those of unsigned methods.
    """

    counts: Counts
    neurons: tuple[SharedNeuron, ...]
    same_sign: int | None


@dataclass(frozen=True)
class SharedSets:
    """The sets of several runs on their common layers, by common tag, and the unions over the tags.

    ``other_layers`` and ``other_tags`` are those of each run that not all runs have.
    ``union_neurons`` has the neurons of the unions by the runs that have them.
    """

    layers: tuple[int, ...]
    other_layers: tuple[tuple[int, ...], ...]
    tags: Mapping[str, TagSets]
    other_tags: tuple[tuple[str, ...], ...]
    union: Counts
    union_neurons: Mapping[Runs, tuple[Neuron, ...]]


def shared_sets(runs: Sequence[NeuronSets]) -> SharedSets:
    """Compare the sets of several runs, tag by tag, on the layers that all of them read.

    By chance, every set is drawn without replacement with its number of neurons in every layer. The
    null ignores that runs may use the same words, and that for one method a smaller set is part of
    a larger one. Ranks are those in the whole set of a tag, over all layers.

    Returns:
        The comparison, tags in alphabetical order.

    Raises:
        ValueError: If there are fewer than 2 runs, they differ in site or width, or they have no
            common layer or tag.
    """
    if len(runs) < 2:
        raise ValueError(f"a comparison needs at least 2 runs, got {len(runs)}")
    check_alike({f"run {i}": sets for i, sets in enumerate(runs, start=1)})
    layers = tuple(sorted(set.intersection(*(set(sets.layers) for sets in runs))))
    names = sorted(set.intersection(*(set(sets) for sets in runs)))
    if not layers or not names:
        what, own = ("tag", [list(sets) for sets in runs]) if layers else ("layer", [sets.layers for sets in runs])
        listed = [", ".join(map(str, values)) or "none" for values in own]
        raise ValueError(f"the runs have no {what} in common: {' against '.join(listed)}")
    signed = all(any(n.score < 0 for own in sets.tags.values() for n in own) for sets in runs)
    ranked = {name: [_ranked(sets, name, layers) for sets in runs] for name in names}
    width = runs[0].neurons_per_layer
    unions = [{neuron for name in names for neuron in ranked[name][run]} for run in range(len(runs))]
    return SharedSets(
        layers,
        tuple(_without(sets.layers, layers) for sets in runs),
        _adjusted({name: _tag_sets(own, layers, width, signed) for name, own in ranked.items()}),
        tuple(_without(sets, names) for sets in runs),
        _counts(unions, layers, width),
        _by_runs(unions),
    )


def _ranked(sets: NeuronSets, tag: str, layers: tuple[int, ...]) -> dict[Neuron, Ranked]:
    numbered = enumerate(sets.tags[tag], start=1)
    return {(n.layer, n.neuron): Ranked(rank, n.score) for rank, n in numbered if n.layer in layers}


def _without(values: Iterable[T], common: Collection[T]) -> tuple[T, ...]:
    return tuple(value for value in values if value not in common)


def _tag_sets(ranked: Sequence[Mapping[Neuron, Ranked]], layers: tuple[int, ...], width: int, signed: bool) -> TagSets:
    every = dict.fromkeys(neuron for own in ranked for neuron in own)
    neurons = [SharedNeuron(*neuron, tuple(own.get(neuron) for own in ranked)) for neuron in every]
    neurons.sort(key=lambda neuron: (-len(neuron.runs), neuron.runs))  # stable: by rank in the first of these runs
    same_sign = sum(neuron.same_sign for neuron in neurons) if signed else None
    return TagSets(_counts([set(own) for own in ranked], layers, width), tuple(neurons), same_sign)


def _counts(sets: Sequence[Collection[Neuron]], layers: tuple[int, ...], width: int) -> Counts:
    members = [set(own) for own in sets]
    by_layer = np.array([[sum(n[0] == layer for n in own) for layer in layers] for own in members])
    alone = [len(own.difference(*(members[:i] + members[i + 1 :]))) for i, own in enumerate(members)]
    pairs: list[Runs] = [*combinations(range(len(members)), 2)]
    shared = {runs: _shared([members[i] for i in runs], by_layer[list(runs)], width) for runs in pairs}
    if len(members) > 2:
        shared[tuple(range(len(members)))] = _shared(members, by_layer, width)
    return Counts(tuple(map(len, members)), tuple(alone), shared)


def _shared(members: Sequence[set[Neuron]], by_layer: Int[ndarray, "sets layers"], width: int) -> Shared:
    count = len(set.intersection(*members))
    expected = float((width * np.prod(by_layer / width, axis=0)).sum())
    shared = Shared(count, expected, chance_of_at_least(count, by_layer, width))
    smaller, either = min(map(len, members)), len(set.union(*members))
    if len(members) > 2 or not either:
        return shared
    coefficient = count / smaller if smaller else None
    by_chance = expected_jaccard(by_layer[0], by_layer[1], width)
    return replace(shared, jaccard=count / either, expected_jaccard=by_chance, coefficient=coefficient)


def _adjusted(tags: Mapping[str, TagSets]) -> dict[str, TagSets]:
    """Adjust the p-values of every combination of runs over the tags whose sets have neurons."""
    result = dict(tags)
    for runs in next(iter(tags.values())).counts.shared:
        tested = {
            t: own.counts.shared[runs].p_value for t, own in tags.items() if all(own.counts.sizes[i] for i in runs)
        }
        for tag, p_value in adjusted_p_values(tested).items():
            counts = result[tag].counts
            shared = {**counts.shared, runs: replace(counts.shared[runs], p_adjusted=p_value)}
            result[tag] = replace(result[tag], counts=replace(counts, shared=shared))
    return result


def _by_runs(unions: Sequence[set[Neuron]]) -> dict[Runs, tuple[Neuron, ...]]:
    by_runs: dict[Runs, list[Neuron]] = {}
    for neuron in sorted(set.union(*unions)):
        by_runs.setdefault(tuple(run for run, own in enumerate(unions) if neuron in own), []).append(neuron)
    ordered = sorted(by_runs, key=lambda runs: (-len(runs), runs))
    return {runs: tuple(by_runs[runs]) for runs in ordered}
