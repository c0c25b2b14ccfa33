"""Key neurons over the steps of a training: overlap between steps, birth and death of neurons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.analysis.agreement import in_order
from keyneurons.analysis.overlap import neurons_by_layer
from keyneurons.analysis.stability import expected_jaccards, jaccard
from keyneurons.records import NeuronSets

Neuron = tuple[int, int]
"""A neuron as layer and index."""


@dataclass(frozen=True)
class Compared:
    """Jaccard index of the sets of two steps, and its expectation for random sets of these sizes.

    Both are ``[tags, steps]``, nan where there is no other step or both sets are empty.
    """

    jaccard: Float[ndarray, "tags steps"]
    expected: Float[ndarray, "tags steps"]


@dataclass(frozen=True)
class Turnover:
    """Neurons that enter a tag's set for the first time (``born``) or leave it for good (``died``).

    ``born[:, i]`` are neurons of step i in no earlier set, so the first step has all of its set;
    ``died[:, i]`` are neurons of step i - 1 in the set of neither step i nor a later one. Over all
    steps, births minus deaths are the size of the last set. The expectations are for independent
    random sets with as many neurons in each layer. All are ``[tags, steps]``.
    """

    born: Int[ndarray, "tags steps"]
    born_expected: Float[ndarray, "tags steps"]
    died: Int[ndarray, "tags steps"]
    died_expected: Float[ndarray, "tags steps"]


@dataclass(frozen=True)
class Life:
    """The steps of a neuron in a tag's set, as positions among all steps.

    ``settled`` is the position from which on every set has it, None if the last set has it not;
    ``died`` is the position after its last one, None if that is the last step.
    """

    tag: str
    layer: int
    neuron: int
    born: int
    settled: int | None
    died: int | None
    n_steps: int


@dataclass(frozen=True)
class Trajectory:
    """The sets of every tag over steps; ``size`` is ``[tags, steps]``."""

    tags: tuple[str, ...]
    size: Int[ndarray, "tags steps"]
    with_last: Compared
    with_previous: Compared
    turnover: Turnover
    lives: tuple[Life, ...]

    def settled(self, tag: str) -> list[int]:
        """Where each neuron of a tag's last set entered for good, ascending."""
        return sorted(life.settled for life in self.lives if life.tag == tag and life.settled is not None)


def trajectory(steps: Sequence[NeuronSets]) -> Trajectory:
    """Compare the sets of consecutive steps, and of every step and the last one, tag by tag.

    Overlap that exceeds chance is no evidence of grammar: all sets are selected on the same words.

    Args:
        steps: the sets of every step in the order of training, on the same site and layers.

    Returns:
        The comparison of the tags that all steps have.

    Raises:
        ValueError: If there are fewer than 2 steps, they differ in site, layers or width, or have
            no common tag.
    """
    if len(steps) < 2:
        raise ValueError(f"a trajectory needs at least 2 steps, got {len(steps)}")
    tags = tuple(sorted(set.intersection(*(set(sets) for sets in steps))))
    if not tags:
        raise ValueError(f"the {len(steps)} steps have no common tag")
    members = {tag: [{(n.layer, n.neuron) for n in sets.tags[tag]} for sets in steps] for tag in tags}
    lives = tuple(life for tag in tags for life in _lives(tag, members[tag]))
    before = [None, *steps[:-1]]
    last = [*[steps[-1]] * (len(steps) - 1), None]
    return Trajectory(
        tags,
        np.array([[len(own) for own in members[tag]] for tag in tags]),
        _compared(steps, last, tags),
        _compared(steps, before, tags),
        _turnover(steps, tags, lives),
        lives,
    )


def _compared(steps: Sequence[NeuronSets], others: Sequence[NeuronSets | None], tags: tuple[str, ...]) -> Compared:
    def values(of_pair: Callable[[NeuronSets, NeuronSets], dict[str, float]]) -> Float[ndarray, "tags steps"]:
        pairs = zip(steps, others, strict=True)
        return np.array([in_order({} if b is None else of_pair(a, b), tags) for a, b in pairs]).T

    return Compared(values(jaccard), values(expected_jaccards))


def _lives(tag: str, members: Sequence[set[Neuron]]) -> list[Life]:
    lives = []
    for layer, neuron in sorted(set.union(*members)):
        has = [(layer, neuron) in own for own in members]
        at = [i for i, present in enumerate(has) if present]
        absent = [i for i, present in enumerate(has) if not present]
        settled = (max(absent, default=-1) + 1) if has[-1] else None
        lives.append(Life(tag, layer, neuron, at[0], settled, None if has[-1] else at[-1] + 1, len(at)))
    return lives


def _turnover(steps: Sequence[NeuronSets], tags: tuple[str, ...], lives: Sequence[Life]) -> Turnover:
    born, died = (np.zeros((len(tags), len(steps)), dtype=int) for _ in range(2))
    for life in lives:
        born[tags.index(life.tag), life.born] += 1
        if life.died is not None:
            died[tags.index(life.tag), life.died] += 1
    sizes = np.array([[neurons_by_layer(sets, tag) for sets in steps] for tag in tags])  # [tags, steps, layers]
    missing = 1 - sizes / steps[0].neurons_per_layer
    start = np.ones_like(missing[:, :1])
    in_none_before = np.concatenate([start, missing.cumprod(axis=1)[:, :-1]], axis=1)
    in_none_from = missing[:, ::-1].cumprod(axis=1)[:, ::-1]
    born_expected = (sizes * in_none_before).sum(axis=2)
    died_expected = np.zeros_like(born_expected)
    died_expected[:, 1:] = (sizes[:, :-1] * in_none_from[:, 1:]).sum(axis=2)
    return Turnover(born, born_expected, died, died_expected)
