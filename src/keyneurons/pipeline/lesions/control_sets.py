"""Control sets for lesions: random neurons, matched in variance or frequency, or lowest ranked."""

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

Covariate = Callable[["NeuronStatistics"], Float[ndarray, " neurons"]]


@dataclass(frozen=True)
class NeuronStatistics:
    """Statistics of every neuron on the train words, with the layers concatenated."""

    means: Means
    variance: Float[ndarray, " neurons"]
    frequency: Float[ndarray, " neurons"]
    width: int


def neuron_statistics(driver: Driver, labels: Labels, names: Sequence[str]) -> NeuronStatistics:
    """Means, variances and frequencies of all neurons on the labelled train words, in one pass."""
    tags = labels.splits["train"].tags[None]
    moments = driver.moments(tags, [VALUE, POSITIVE])
    value, positive = moments[VALUE][0], moments[POSITIVE][0]
    n = value.n_words
    overall = value.pivot + value.sums.sum(dim=0) / n
    chosen = [labels.names.index(name) for name in names]
    means = Means(tuple(driver.arrays), overall.cpu(), value.means()[chosen].cpu())
    frequency = positive.pivot + positive.sums.sum(dim=0) / n
    return NeuronStatistics(means, (value.total_squares() / n).cpu().numpy(), frequency.cpu().numpy(), driver.width)


Magnitudes = Float[ndarray, " neurons"] | None
"""Magnitudes of the scores of all neurons for a tag; None if only the key neurons are given."""

Draw = Callable[[list[int], NeuronStatistics, Magnitudes, int, int], Int[ndarray, "sets key"]]
"""Draws control sets for a set of neurons.

Arguments: the neurons, statistics, magnitudes of the tag's scores, number of sets, seed.
"""


@dataclass(frozen=True)
class ControlFamily:
    """A family of control sets: its sampling function, and the covariate of matched sets."""

    draw: Draw
    covariate: Covariate | None = None


def any_neurons(
    own: list[int], statistics: NeuronStatistics, _: Magnitudes, n_sets: int, seed: int
) -> Int[ndarray, "sets key"]:
    """Random neurons of the same layers."""
    return matched_random_sets(own, statistics.width, len(statistics.means.layers), n_sets, seed)


def lowest_ranked(
    own: list[int], statistics: NeuronStatistics, magnitudes: Magnitudes, n_sets: int, seed: int
) -> Int[ndarray, "sets key"]:
    """Neurons with the weakest scores for the tag.

    Raises:
        ValueError: There are no scores.
    """
    if magnitudes is None:
        raise ValueError("the family lowest needs the scores of all neurons")
    return lowest_sets(own, magnitudes, statistics.width, n_sets, seed)


def matched_by(covariate: Covariate) -> ControlFamily:
    """Neurons with similar values of a covariate."""

    def draw(
        own: list[int], statistics: NeuronStatistics, _: Magnitudes, n_sets: int, seed: int
    ) -> Int[ndarray, "sets key"]:
        return matched_sets(own, covariate(statistics), statistics.width, n_sets, seed)

    return ControlFamily(draw, covariate)


CONTROL_FAMILIES: Mapping[str, ControlFamily] = {
    "random": ControlFamily(any_neurons),
    "variance": matched_by(lambda statistics: statistics.variance),
    "frequency": matched_by(lambda statistics: statistics.frequency),
    "lowest": ControlFamily(lowest_ranked),
}
"""Families by their names in ``lesion.families``.

The position of a family is part of its seed, so new families go to the end.
"""


def draw_sets(
    family: str,
    n_sets: int,
    columns: Mapping[str, Int[ndarray, " key"]],
    scores: Scores | None,
    labels: Labels,
    statistics: NeuronStatistics,
    seed: int,
) -> dict[str, Int[ndarray, "sets key"]]:
    """Draw the control sets of every tag, with as many neurons in each layer as its key neurons."""
    place = list(CONTROL_FAMILIES).index(family)
    drawn = {}
    for i, (tag, own) in enumerate(columns.items()):
        own_seed = int(np.random.SeedSequence([seed, i, place]).generate_state(1)[0])
        magnitudes = None if scores is None else scores.values[labels.names.index(tag)].abs().numpy()
        drawn[tag] = CONTROL_FAMILIES[family].draw(own.tolist(), statistics, magnitudes, n_sets, own_seed)
    return drawn


def mismatch(
    family: str,
    control_sets: Mapping[str, Int[ndarray, "sets key"]],
    columns: Mapping[str, Int[ndarray, " key"]],
    statistics: NeuronStatistics,
) -> float | None:
    """Mean distance of matched sets from the key neurons in ranks of the covariate.

    None for families without a covariate.
    """
    if (covariate := CONTROL_FAMILIES[family].covariate) is None:
        return None
    values = covariate(statistics)
    return float(
        np.mean([
            match_quality(own.tolist(), control_sets[tag], values, statistics.width) for tag, own in columns.items()
        ])
    )
