"""Which neurons many runs find, and how many would be found by as many runs by chance."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.analysis.overlap import neurons_by_layer
from keyneurons.analysis.set_agreement import check_alike
from keyneurons.records import KeyNeuron, NeuronSets


@dataclass(frozen=True, slots=True)
class Found:
    """A neuron that ``runs`` runs found for a tag, of those ``of`` that read its layer and know the tag.

    ``expected`` is the number of runs that would find it if each drew as many neurons of the layer at random.
    """

    tag: str
    layer: int
    neuron: int
    runs: int
    of: int
    expected: float

    @property
    def share(self) -> float:
        """Share of the runs that could find it."""
        return self.runs / self.of


@dataclass(frozen=True, slots=True)
class Tally:
    """How many pairs of a tag and a neuron at least ``runs`` runs found, and how many would be by chance."""

    runs: int
    neurons: int
    expected: float


@dataclass(frozen=True)
class Consensus:
    """The neurons of every tag that enough runs found, those of most first; ``expected`` counts them by chance."""

    tags: Mapping[str, tuple[KeyNeuron, ...]]
    expected: Mapping[str, float]


def found_neurons(sets: Mapping[str, NeuronSets]) -> tuple[Found, ...]:
    """Every neuron that a run found for a tag; tags in alphabetical order, the neurons of most runs first.

    Raises:
        ValueError: If runs differ in site or width.
    """
    counts: Counter[tuple[str, int, int]] = Counter()
    for own in sets.values():
        counts.update((tag, n.layer, n.neuron) for tag in own for n in own.tags[tag])
    chances = {(tag, layer): probabilities for tag, layer, probabilities in _chances(sets)}
    every = (
        Found(tag, layer, neuron, runs, len(chances[tag, layer]), sum(chances[tag, layer]))
        for (tag, layer, neuron), runs in counts.items()
    )
    return tuple(sorted(every, key=lambda found: (found.tag, -found.share, -found.runs, found.layer, found.neuron)))


def tally(sets: Mapping[str, NeuronSets]) -> tuple[Tally, ...]:
    """How many neurons at least one run found, at least two, and so on, beside their number by chance.

    The number of runs that find a neuron of a layer by chance is a sum of independent events, one a run, each as likely
    as the share of the layer that the run's set takes (Poisson binomial).

    Returns:
        One tally for every number of runs, up to the most that can find a neuron.

    Raises:
        ValueError: If runs differ in site or width.
    """
    width = next(iter(sets.values())).neurons_per_layer
    found = found_neurons(sets)
    at_least = [width * _at_least(probabilities) for _, _, probabilities in _chances(sets)]
    return tuple(
        Tally(runs, sum(each.runs >= runs for each in found), sum(float(p[runs]) for p in at_least if runs < len(p)))
        for runs in range(1, max(map(len, at_least)))
    )


def consensus(sets: Mapping[str, NeuronSets], share: float | None = None) -> Consensus:
    """The neurons that enough of the runs that read their layer found, two at least; a score is that share of the runs.

    Args:
        sets: by run.
        share: of the runs; None asks for more than half of them.

    Returns:
        A set for every tag, empty where runs agree on nothing.

    Raises:
        ValueError: If the share is not within 0..1, or runs differ in site or width.
    """
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"share must lie above 0 and be at most 1, got {share}")
    tags: dict[str, list[KeyNeuron]] = {tag: [] for own in sets.values() for tag in own}
    for each in found_neurons(sets):
        if each.runs >= needed(each.of, share):
            tags[each.tag].append(KeyNeuron(each.layer, each.neuron, each.share))
    width = next(iter(sets.values())).neurons_per_layer
    expected = dict.fromkeys(sorted(tags), 0.0)
    for tag, _, probabilities in _chances(sets):
        if (least := needed(len(probabilities), share)) <= len(probabilities):
            expected[tag] += width * float(_at_least(probabilities)[least])
    return Consensus({tag: tuple(tags[tag]) for tag in sorted(tags)}, expected)


def needed(runs: int, share: float | None) -> int:
    """How many of so many runs must find a neuron: two at least, since one run agrees with nobody."""
    return max(2, runs // 2 + 1 if share is None else math.ceil(share * runs - 1e-9))


def _chances(sets: Mapping[str, NeuronSets]) -> Iterator[tuple[str, int, tuple[float, ...]]]:
    """For every tag and layer, how likely each run that has both finds a neuron of it by chance."""
    check_alike(sets)
    shares: dict[tuple[str, int], list[float]] = {}
    for own in sets.values():
        for tag in own:
            for layer, count in zip(own.layers, neurons_by_layer(own, tag).tolist(), strict=True):
                shares.setdefault((tag, layer), []).append(count / own.neurons_per_layer)
    for (tag, layer), probabilities in sorted(shares.items()):
        yield tag, layer, tuple(probabilities)


def _at_least(probabilities: tuple[float, ...]) -> Float[ndarray, " counts"]:
    """Probability of at least 0, 1, ... of independent events."""
    exactly = reduce(np.convolve, ([1 - p, p] for p in probabilities), np.ones(1))
    at_least: Float[ndarray, " counts"] = exactly[::-1].cumsum()[::-1]
    return at_least
