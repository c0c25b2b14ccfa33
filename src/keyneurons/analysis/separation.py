"""How well one neuron separates each tag from the rest, compared with other neurons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class Separation:
    """AUROC of each tag against the rest for one neuron, compared with other neurons.

    ``auroc`` is directed: below 0.5 the tag's words have lower activations. ``either_way`` is
    max(a, 1 - a). The ``control_`` columns are the quantiles .025, .5 and .975 of the same value
    over ``n_controls`` other neurons, and ``share_as_good`` is the share of those neurons with at
    least the value of this one.
    """

    auroc: Float[ndarray, " tags"]
    either_way: Float[ndarray, " tags"]
    control_low: Float[ndarray, " tags"]
    control_median: Float[ndarray, " tags"]
    control_high: Float[ndarray, " tags"]
    share_as_good: Float[ndarray, " tags"]
    n_controls: int


def separation(
    values: Float[ndarray, " words"],
    controls: Float[ndarray, "words controls"],
    tags: Int[ndarray, " words"],
    n_tags: int,
) -> Separation:
    """Compare a neuron with other neurons on the same words.

    Args:
        values: activations of the neuron.
        controls: activations of the other neurons.
        tags: tag of every word.
        n_tags: number of tags.

    Returns:
        AUROC values of all tags.

    Raises:
        ValueError: If there are no other neurons, a value is not finite, or a tag has no words or
            all of them.
    """
    if not controls.shape[1]:
        raise ValueError("comparison needs at least 1 other neuron, got 0")
    both = auroc(np.column_stack([values, controls]), tags, n_tags)
    folded = np.maximum(both, 1 - both)
    own, others = folded[:, 0], folded[:, 1:]
    low, median, high = np.quantile(others, [0.025, 0.5, 0.975], axis=1)
    as_good = (others >= own[:, None]).mean(1)
    return Separation(both[:, 0], own, low, median, high, as_good, others.shape[1])


def auroc(
    values: Float[ndarray, "words neurons"], tags: Int[ndarray, " words"], n_tags: int
) -> Float[ndarray, "tags neurons"]:
    """Area under the ROC curve of each tag against the rest, by each neuron.

    The probability that a word of the tag has a higher activation than one of the rest, ties
    counting half: the Mann-Whitney statistic divided by the number of pairs.

    Args:
        values: one column per neuron.
        tags: tag of every word.
        n_tags: number of tags.

    Returns:
        Areas in 0..1; 0.5 for constant neurons.

    Raises:
        ValueError: If a value is not finite, or a tag has no words or all of them.
    """
    from scipy.stats import rankdata

    counts = np.bincount(tags, minlength=n_tags)
    if len(counts) > n_tags or not ((counts > 0) & (counts < len(tags))).all():
        raise ValueError(
            f"each of {n_tags} tags needs some of the {len(tags)} words but not all, got {counts.tolist()}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} activations are not finite")
    ranks = rankdata(values.astype(np.float64), axis=0)
    sums = np.stack([ranks[tags == tag].sum(0) for tag in range(n_tags)])
    own, rest = counts[:, None], (len(tags) - counts)[:, None]
    areas: ndarray = (sums - own * (own + 1) / 2) / (own * rest)
    return areas


def spread(
    values: Float[ndarray, " words"], tags: Int[ndarray, " words"], n_tags: int
) -> Float[ndarray, "tags quantiles"]:
    """The ``QUANTILES`` of each tag's activations.

    Raises:
        ValueError: If a tag has no words.
    """
    if missing := sorted(set(range(n_tags)) - set(tags.tolist())):
        raise ValueError(f"each of {n_tags} tags needs words, got none of tag {missing[0]}")
    wide = values.astype(np.float64)
    return np.stack([np.quantile(wide[tags == tag], QUANTILES) for tag in range(n_tags)])
