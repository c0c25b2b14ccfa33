"""Control sets for lesions: any neurons, neurons alike in variance or frequency, the lowest ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.analysis.controls import lowest_sets, matched_random_sets
from keyneurons.analysis.matching import match_quality, matched_sets
from keyneurons.lesion.modes import Means
from keyneurons.records import Labels, Scores
from keyneurons.selection.scoring import Driver
from keyneurons.selection.views import POSITIVE, VALUE

Family = Literal["random", "variance", "frequency", "lowest"]
FAMILIES: tuple[Family, ...] = get_args(Family)


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


def draw_sets(
    family: Family,
    n_sets: int,
    columns: Mapping[str, Int[ndarray, " key"]],
    scores: Scores,
    labels: Labels,
    facts: Facts,
    seed: int,
) -> dict[str, Int[ndarray, "sets key"]]:
    """Control sets of every tag, with as many neurons in each layer."""
    found = {}
    for i, (tag, own) in enumerate(columns.items()):
        own_seed = int(np.random.SeedSequence([seed, i, FAMILIES.index(family)]).generate_state(1)[0])
        if family == "random":
            found[tag] = matched_random_sets(own.tolist(), facts.width, len(facts.means.layers), n_sets, own_seed)
        elif family == "lowest":
            magnitudes = scores.values[labels.names.index(tag)].abs().numpy()
            found[tag] = lowest_sets(own.tolist(), magnitudes, facts.width, n_sets, own_seed)
        else:
            covariate = facts.variance if family == "variance" else facts.frequency
            found[tag] = matched_sets(own.tolist(), covariate, facts.width, n_sets, own_seed)
    return found


def mismatch(
    family: Family,
    of_tags: Mapping[str, Int[ndarray, "sets key"]],
    columns: Mapping[str, Int[ndarray, " key"]],
    facts: Facts,
) -> float | None:
    """How far sets matched on a covariate are from the key neurons in its ranks; None of those that are not."""
    if family not in {"variance", "frequency"}:
        return None
    covariate = facts.variance if family == "variance" else facts.frequency
    return float(
        np.mean([match_quality(own.tolist(), of_tags[tag], covariate, facts.width) for tag, own in columns.items()])
    )
