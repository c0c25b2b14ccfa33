"""Neurons that several runs select, compared with the number expected by chance."""

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
class SelectedNeuron:
    """A neuron that ``runs`` of the ``of`` eligible runs select for a tag.

    Eligible runs read its layer and have the tag. ``expected`` is the expected number of runs if
    each drew as many neurons of the layer at random.
    """

    tag: str
    layer: int
    neuron: int
    runs: int
    of: int
    expected: float

    @property
    def share(self) -> float:
        """Share of the eligible runs that select the neuron."""
        return self.runs / self.of


@dataclass(frozen=True, slots=True)
class Tally:
    """Number of tag-neuron pairs that at least ``runs`` runs select, and its chance expectation."""

    runs: int
    neurons: int
    expected: float


@dataclass(frozen=True)
class Consensus:
    """Neurons of every tag that enough runs select, by descending number of runs.

    ``expected`` is their expected number by chance.
    """

    tags: Mapping[str, tuple[KeyNeuron, ...]]
    expected: Mapping[str, float]


def selected_neurons(sets: Mapping[str, NeuronSets]) -> tuple[SelectedNeuron, ...]:
    """Every neuron that a run selects for a tag; tags in alphabetical order, most runs first.

    Raises:
        ValueError: If runs differ in site or width.
    """
    counts: Counter[tuple[str, int, int]] = Counter()
    for own in sets.values():
        counts.update((tag, n.layer, n.neuron) for tag in own for n in own.tags[tag])
    chances = {(tag, layer): probabilities for tag, layer, probabilities in _chances(sets)}
    every = (
        SelectedNeuron(tag, layer, neuron, runs, len(chances[tag, layer]), sum(chances[tag, layer]))
        for (tag, layer, neuron), runs in counts.items()
    )
    return tuple(sorted(every, key=lambda each: (each.tag, -each.share, -each.runs, each.layer, each.neuron)))


def tally(sets: Mapping[str, NeuronSets]) -> tuple[Tally, ...]:
    """Number of neurons selected by at least one run, at least two, and so on, and by chance.

    By chance, the number of runs that select a neuron of a layer is a sum of independent Bernoulli
    variables, one per run, with the share of the layer in the run's set as probability (Poisson
    binomial).

    Returns:
        One tally for every number of runs, up to the largest number of runs that read a layer and
        have a tag.

    Raises:
        ValueError: If runs differ in site or width.
    """
    width = next(iter(sets.values())).neurons_per_layer
    selected = selected_neurons(sets)
    at_least = [width * _at_least(probabilities) for _, _, probabilities in _chances(sets)]
    return tuple(
        Tally(runs, sum(each.runs >= runs for each in selected), sum(float(p[runs]) for p in at_least if runs < len(p)))
        for runs in range(1, max(map(len, at_least)))
    )


def consensus(sets: Mapping[str, NeuronSets], share: float | None = None) -> Consensus:
    """Neurons that enough of the runs that read their layer select, at least two.

    The score of a neuron is the share of these runs that select it.

    Args:
        sets: neuron sets by run.
        share: required share of the runs; None for more than half.

    Returns:
        A set for every tag, empty if no neuron qualifies.

    Raises:
        ValueError: If the share is not within 0..1, or runs differ in site or width.
    """
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"share must lie above 0 and be at most 1, got {share}")
    tags: dict[str, list[KeyNeuron]] = {tag: [] for own in sets.values() for tag in own}
    for each in selected_neurons(sets):
        if each.runs >= runs_needed(each.of, share):
            tags[each.tag].append(KeyNeuron(each.layer, each.neuron, each.share))
    width = next(iter(sets.values())).neurons_per_layer
    expected = dict.fromkeys(sorted(tags), 0.0)
    for tag, _, probabilities in _chances(sets):
        if (least := runs_needed(len(probabilities), share)) <= len(probabilities):
            expected[tag] += width * float(_at_least(probabilities)[least])
    return Consensus({tag: tuple(tags[tag]) for tag in sorted(tags)}, expected)


def runs_needed(runs: int, share: float | None) -> int:
    """Number of runs that must select a neuron: at least two, since one run cannot agree."""
    return max(2, runs // 2 + 1 if share is None else math.ceil(share * runs - 1e-9))


def _chances(sets: Mapping[str, NeuronSets]) -> Iterator[tuple[str, int, tuple[float, ...]]]:
    """Yield for every tag and layer the chance of each run with both to select a given neuron."""
    check_alike(sets)
    shares: dict[tuple[str, int], list[float]] = {}
    for own in sets.values():
        for tag in own:
            for layer, count in zip(own.layers, neurons_by_layer(own, tag).tolist(), strict=True):
                shares.setdefault((tag, layer), []).append(count / own.neurons_per_layer)
    for (tag, layer), probabilities in sorted(shares.items()):
        yield tag, layer, tuple(probabilities)


def _at_least(probabilities: tuple[float, ...]) -> Float[ndarray, " counts"]:
    """Probabilities that at least 0, 1, ... of some independent events occur."""
    exactly = reduce(np.convolve, ([1 - p, p] for p in probabilities), np.ones(1))
    at_least: Float[ndarray, " counts"] = exactly[::-1].cumsum()[::-1]
    return at_least
