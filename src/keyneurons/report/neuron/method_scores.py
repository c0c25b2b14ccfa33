"""Scores of single neurons by the methods of several runs, from their score files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.artifacts.scores import ScoresFile

Place = tuple[int, int]
MethodScores = tuple[str, tuple[tuple[str, float, int], ...]]
"""A method, with the tag, score and rank of a neuron for every tag."""


@dataclass(frozen=True)
class KeptScores:
    """The score file of a run; ``here`` marks the inspected run."""

    run: str
    run_id: str
    method: str
    scores: ScoresFile
    here: bool


@dataclass(frozen=True)
class ScoredBy:
    """Score and rank of a neuron in its layer by tag, for a method and all runs with equal values.

    ``runs`` are names and ids; ``here`` tells whether the inspected run is one of them.
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
        kept: The score files; files without the layer of a neuron are skipped for it.
        site: The site of the neurons.
        wanted: The neurons.

    Returns:
        For each neuron its scores by method, the inspected run first; runs with equal values are
        merged.
    """
    groups: dict[Place, dict[MethodScores, list[KeptScores]]] = {place: {} for place in wanted}
    for each in kept:
        for layer in sorted({layer for layer, _ in wanted if layer in each.scores.layers}):
            scores = each.scores.layer(layer)
            for place in [place for place in groups if place[0] == layer]:
                ranks = ranks_of(scores, place[1]).tolist()
                by_tag = tuple(zip(each.scores.tags, scores[:, place[1]].tolist(), ranks, strict=True))
                groups[place].setdefault((each.method, by_tag), []).append(each)
    return {place: tuple(_scored_by(of)) for place, of in groups.items()}


def ranks_of(scores: Float[ndarray, "tags neurons"], neuron: int) -> Int[ndarray, " tags"]:
    """Rank of a neuron by the magnitude of its score, from 1; ties go to the lower neuron."""
    sizes = np.abs(scores)
    own = sizes[:, neuron : neuron + 1]
    ranks: ndarray = 1 + (sizes > own).sum(1) + (sizes[:, :neuron] == own).sum(1)
    return ranks


def _scored_by(groups: Mapping[MethodScores, Sequence[KeptScores]]) -> list[ScoredBy]:
    result = [
        ScoredBy(
            method,
            tuple((each.run, each.run_id) for each in runs),
            any(each.here for each in runs),
            {tag: (score, rank) for tag, score, rank in by_tag},
        )
        for (method, by_tag), runs in groups.items()
    ]
    return sorted(result, key=lambda each: (not each.here, each.method))
