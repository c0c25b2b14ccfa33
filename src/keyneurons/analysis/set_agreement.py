"""Agreement of the neuron sets of several runs, observed and expected by chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.analysis.agreement import in_order, mean_over_tags, symmetric
from keyneurons.analysis.overlap import neurons_by_layer
from keyneurons.analysis.stability import expected_jaccard, jaccard
from keyneurons.records import NeuronSets


@dataclass(frozen=True)
class SetAgreement:
    """Jaccard of the sets of every two runs, and its expectation for random sets of the same sizes.

    Sizes match in every layer. ``jaccard`` and ``expected`` are ``[runs, runs]`` means over the
    tags; the others are ``[tags, runs, runs]``. nan if two runs share no layer or no tag, or both
    sets of a tag are empty. The diagonal of ``jaccard`` is 1, that of ``expected`` is for two
    independent random sets of the run's sizes.
    """

    runs: tuple[str, ...]
    tags: tuple[str, ...]
    jaccard: Float[ndarray, "runs runs"]
    expected: Float[ndarray, "runs runs"]
    jaccard_by_tag: Float[ndarray, "tags runs runs"]
    expected_by_tag: Float[ndarray, "tags runs runs"]


def set_agreement(sets: Mapping[str, NeuronSets]) -> SetAgreement:
    """Compare the key neurons of every two runs, tag by tag.

    A neuron is identified by layer and index: neurons in a layer that the other run did not read
    are not shared, and the expectation counts shared neurons in common layers only. The expectation
    ignores that runs may use the same words, and that for one method a smaller set is part of a
    larger one.

    Args:
        sets: neuron sets by run; runs may differ in layers and tags.

    Returns:
        The matrices, runs in the given order.

    Raises:
        ValueError: If there are fewer than 2 runs, or they differ in site or width.
    """
    if len(sets) < 2:
        raise ValueError(f"agreement needs at least 2 runs, got {[*sets]}")
    tags = tuple(sorted({tag for own in sets.values() for tag in own}))
    check_alike(sets)
    layers = tuple(sorted({layer for own in sets.values() for layer in own.layers}))
    items = [_of_run(own, layers) for own in sets.values()]
    expectation = cache(_expected)

    def shared(a: _OfRun, b: _OfRun) -> list[float]:
        return in_order(jaccard(a.sets, b.sets) if a.read & b.read else {}, tags)

    def by_chance(a: _OfRun, b: _OfRun) -> list[float]:
        both = a.sizes.keys() & b.sizes.keys() if a.read & b.read else set()
        sizes = {tag: (a.sizes[tag], b.sizes[tag]) for tag in both if any(a.sizes[tag]) or any(b.sizes[tag])}
        return in_order({tag: expectation(*pair, a.sets.neurons_per_layer) for tag, pair in sizes.items()}, tags)

    observed, chance = symmetric(shared, items), symmetric(by_chance, items)
    for i, item in enumerate(items):
        chance[:, i, i] = by_chance(item, item)
    return SetAgreement(tuple(sets), tags, mean_over_tags(observed), mean_over_tags(chance), observed, chance)


def check_alike(sets: Mapping[str, NeuronSets]) -> None:
    """Raise if the neurons of the sets are not comparable.

    Raises:
        ValueError: If runs differ in site or width.
    """
    bound = {run: (own.site, own.neurons_per_layer) for run, own in sets.items()}
    first, *others = bound
    for run in others:
        if bound[run] != bound[first]:
            raise ValueError(f"{first} and {run} must share site and width, got {bound[first]} and {bound[run]}")


@dataclass(frozen=True)
class _OfRun:
    """The layers of a run, its sets on the layers of all runs, and their sizes by layer."""

    read: frozenset[int]
    sets: NeuronSets
    sizes: Mapping[str, tuple[int, ...]]


def _of_run(own: NeuronSets, layers: tuple[int, ...]) -> _OfRun:
    sets = replace(own, layers=layers)
    return _OfRun(frozenset(own.layers), sets, {tag: tuple(neurons_by_layer(sets, tag).tolist()) for tag in own})


def _expected(first: tuple[int, ...], second: tuple[int, ...], neurons_per_layer: int) -> float:
    return expected_jaccard(np.array(first), np.array(second), neurons_per_layer)
