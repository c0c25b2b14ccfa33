"""Control sets for lesions: any neurons, neurons alike in variance or frequency, the lowest ranked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.analysis.controls import lowest_sets, matched_random_sets
from keyneurons.analysis.matching import match_quality, matched_sets
from keyneurons.lesion.modes import Means
from keyneurons.records import Labels, Scores
from keyneurons.selection.scoring import Driver
from keyneurons.selection.views import POSITIVE, VALUE

Covariate = Callable[["Facts"], Float[ndarray, " neurons"]]


@dataclass(frozen=True)
class Facts:
    """What the train words say about every neuron, the layers side by side."""

    means: Means
    variance: Float[ndarray, " neurons"]
    frequency: Float[ndarray, " neurons"]
    width: int


def facts_of(driver: Driver, labels: Labels, names: Sequence[str]) -> Facts:
    """Means, variances and frequencies of all neurons over the labelled train words, by one read of them."""
    tags = labels.splits["train"].tags[None]
    moments = driver.moments(tags, [VALUE, POSITIVE])
    value, positive = moments[VALUE][0], moments[POSITIVE][0]
    n = value.n_words
    overall = value.pivot + value.sums.sum(dim=0) / n
    chosen = [labels.names.index(name) for name in names]
    means = Means(tuple(driver.arrays), overall.cpu(), value.means()[chosen].cpu())
    frequency = positive.pivot + positive.sums.sum(dim=0) / n
    return Facts(means, (value.total_squares() / n).cpu().numpy(), frequency.cpu().numpy(), driver.width)


Draw = Callable[[list[int], Facts, Float[ndarray, " neurons"], int, int], Int[ndarray, "sets key"]]
"""Draws so many control sets of a set of neurons, with a seed; it is given the magnitudes of the tag's scores too."""


@dataclass(frozen=True)
class ControlFamily:
    """A family of control sets: how they are drawn, and the covariate in which they are matched, if there is one."""

    draw: Draw
    covariate: Covariate | None = None


def any_neurons(
    own: list[int], facts: Facts, _: Float[ndarray, " neurons"], n_sets: int, seed: int
) -> Int[ndarray, "sets key"]:
    """Random neurons of the same layers."""
    return matched_random_sets(own, facts.width, len(facts.means.layers), n_sets, seed)


def lowest_ranked(
    own: list[int], facts: Facts, magnitudes: Float[ndarray, " neurons"], n_sets: int, seed: int
) -> Int[ndarray, "sets key"]:
    """Neurons with the weakest scores for the tag."""
    return lowest_sets(own, magnitudes, facts.width, n_sets, seed)


def alike_in(covariate: Covariate) -> ControlFamily:
    """Neurons that have about the same value of a covariate."""

    def draw(
        own: list[int], facts: Facts, _: Float[ndarray, " neurons"], n_sets: int, seed: int
    ) -> Int[ndarray, "sets key"]:
        return matched_sets(own, covariate(facts), facts.width, n_sets, seed)

    return ControlFamily(draw, covariate)


CONTROL_FAMILIES: Mapping[str, ControlFamily] = {
    "random": ControlFamily(any_neurons),
    "variance": alike_in(lambda facts: facts.variance),
    "frequency": alike_in(lambda facts: facts.frequency),
    "lowest": ControlFamily(lowest_ranked),
}
"""By the names in ``lesion.families``; the place of a family is part of its seed, so a new one goes to the end."""


def draw_sets(
    family: str,
    n_sets: int,
    columns: Mapping[str, Int[ndarray, " key"]],
    scores: Scores,
    labels: Labels,
    facts: Facts,
    seed: int,
) -> dict[str, Int[ndarray, "sets key"]]:
    """Control sets of every tag, with as many neurons in each layer."""
    place = list(CONTROL_FAMILIES).index(family)
    drawn = {}
    for i, (tag, own) in enumerate(columns.items()):
        own_seed = int(np.random.SeedSequence([seed, i, place]).generate_state(1)[0])
        magnitudes = scores.values[labels.names.index(tag)].abs().numpy()
        drawn[tag] = CONTROL_FAMILIES[family].draw(own.tolist(), facts, magnitudes, n_sets, own_seed)
    return drawn


def mismatch(
    family: str,
    of_tags: Mapping[str, Int[ndarray, "sets key"]],
    columns: Mapping[str, Int[ndarray, " key"]],
    facts: Facts,
) -> float | None:
    """How far sets matched on a covariate are from the key neurons in its ranks; None of those that are not."""
    if (covariate := CONTROL_FAMILIES[family].covariate) is None:
        return None
    values = covariate(facts)
    return float(
        np.mean([match_quality(own.tolist(), of_tags[tag], values, facts.width) for tag, own in columns.items()])
    )
