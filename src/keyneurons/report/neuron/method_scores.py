"""What the methods of several runs make of single neurons, out of the scores that the runs keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.artifacts.scores import ScoresFile

Place = tuple[int, int]
Given = tuple[str, tuple[tuple[str, float, int], ...]]
"""A method, and the tags with the score and the rank that it gives a neuron."""


@dataclass(frozen=True)
class KeptScores:
    """A run's file of scores; ``here`` marks the run that is looked at."""

    run: str
    run_id: str
    method: str
    scores: ScoresFile
    here: bool


@dataclass(frozen=True)
class ScoredBy:
    """What a method gives a neuron, in all runs where it gives the same: score and rank in the layer by tag.

    ``runs`` are names and ids; ``here`` says whether the run that is looked at is among them.
    """

    method: str
    runs: tuple[tuple[str, str], ...]
    here: bool
    tags: Mapping[str, tuple[float, int]]


def scores_by_method(
    kept: Sequence[KeptScores], site: str, wanted: Sequence[Place]
) -> dict[Place, tuple[ScoredBy, ...]]:
    """Look up neurons in the scores of several runs, each by its layer and number.

    Args:
        kept: the files; those that did not score a layer say nothing of it.
        site: where in the block the neurons are.
        wanted: the neurons.

    Returns:
        Of each neuron the methods, that of the run looked at first; runs that give it the same stand together.
    """
    groups: dict[Place, dict[Given, list[KeptScores]]] = {place: {} for place in wanted}
    for each in kept:
        for layer in sorted({layer for layer, _ in wanted if layer in each.scores.layers}):
            scores = each.scores.layer(layer)
            for place in [place for place in groups if place[0] == layer]:
                ranks = ranks_of(scores, place[1]).tolist()
                told = tuple(zip(each.scores.tags, scores[:, place[1]].tolist(), ranks, strict=True))
                groups[place].setdefault((each.method, told), []).append(each)
    return {place: tuple(_scored_by(of)) for place, of in groups.items()}


def ranks_of(scores: Float[ndarray, "tags neurons"], neuron: int) -> Int[ndarray, " tags"]:
    """The place of a neuron among all by the size of its score, from 1; ties go to the lower neuron."""
    sizes = np.abs(scores)
    own = sizes[:, neuron : neuron + 1]
    ranks: ndarray = 1 + (sizes > own).sum(1) + (sizes[:, :neuron] == own).sum(1)
    return ranks


def _scored_by(groups: Mapping[Given, Sequence[KeptScores]]) -> list[ScoredBy]:
    found = [
        ScoredBy(
            method,
            tuple((each.run, each.run_id) for each in runs),
            any(each.here for each in runs),
            {tag: (score, rank) for tag, score, rank in told},
        )
        for (method, told), runs in groups.items()
    ]
    return sorted(found, key=lambda each: (not each.here, each.method))
