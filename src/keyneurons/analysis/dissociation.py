"""Double dissociation: tests of whether lesions hurt their own tag more than other tags."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.analysis.controls import empirical_p_value
from keyneurons.analysis.effects import check_finite
from keyneurons.analysis.interaction import (
    LEAST_TAGS,
    ROUNDING,
    additive_p_values,
    advantage,
    centred,
    multiplicative_p_values,
    relabellings,
    smallest_detectable,
)
from keyneurons.analysis.multiple_tests import adjusted_p_values


@dataclass(frozen=True)
class DoubleDissociation:
    """A pair of tags whose lesions each hurt their own words more than the other's.

    ``contrast`` is ``(d_ii - d_ij) + (d_jj - d_ji)`` in bits. ``p_value`` is the larger p-value of
    the two differences against the control sets of their tags: both must be significant (Berger
    1982, Technometrics 24:295).
    """

    tags: tuple[str, str]
    contrast: float
    p_value: float


@dataclass(frozen=True)
class Dissociation:
    """Whether lesions hurt their own tag most; ``[lesioned, measured]`` matrices, bits per word.

    ``beyond`` is the change minus the mean change of the control sets of the lesioned tag,
    ``interaction`` the same without row and column effects. ``diagonal_advantage`` is the mean of
    its diagonal minus the mean of its other entries. ``additive_p_value`` allows for strong sets
    and sensitive tags whose effects add up, ``multiplicative_p_value`` also for their product.
    ``least_p_value`` is the smallest possible ``p_value``, ``smallest_detectable`` the smallest
    advantage that would have been significant with a power of 80 %, None if none could be.
    """

    tags: tuple[str, ...]
    beyond: Float[ndarray, "tags tags"]
    interaction: Float[ndarray, "tags tags"]
    diagonal_advantage: float
    additive_p_value: float
    multiplicative_p_value: float
    least_p_value: float
    smallest_detectable: float | None
    pairs: tuple[DoubleDissociation, ...]

    @property
    def p_value(self) -> float:
        """The larger of the two p-values: both tests must be significant (Berger 1982)."""
        return max(self.additive_p_value, self.multiplicative_p_value)


def dissociation(
    lesioned: Float[ndarray, "tags tags"],
    controls: Float[ndarray, "sets tags tags"],
    names: Sequence[str],
    *,
    permutations: int,
    alpha: float,
    seed: int,
) -> Dissociation:
    """Test whether lesions hurt their own tag more than others.

    The measured tags are permuted against the lesioned tags, which preserves row and column
    effects: all permutations if there are at most ``permutations`` and at most 8 tags, else
    ``permutations`` random ones. The minimum p-value is 1/24 with 4 tags and 1/120 with 5; with
    fewer than 4 tags the multiplicative test cannot be significant. A pair of tags dissociates
    doubly if each lesion hurts its own words more than the other's, beyond its
    control sets, and both differences are significant against their control sets at ``alpha`` after
    Benjamini-Hochberg over all pairs. With ``sets`` control sets p cannot be below ``1 / (1 +
    sets)``, so a single significant pair of ``m`` needs ``m / alpha - 1`` sets: 119 for 4 tags and
    2,719 for 17 at .05; with 20 sets no pair is significant unless nearly all are.

    Args:
        lesioned: mean change of the words of the measured tag under the lesion of the lesioned
            tag's key neurons.
        controls: the same under each control set of the lesioned tag.
        names: the tags.
        permutations: maximum number of permutations.
        alpha: significance level of the pairs.
        seed: seed of random permutations.

    Returns:
        The test and the doubly dissociated pairs.

    Raises:
        ValueError: If shapes do not match, a change is not finite, there are fewer than 2 tags, or
            an option is out of range.
    """
    n = len(names)
    if lesioned.shape != (n, n) or controls.shape[1:] != (n, n) or not len(controls) or n < 2:
        raise ValueError(
            f"got changes {lesioned.shape} and {controls.shape} for {n} tags; need at least 2 tags and 1 control set"
        )
    check_finite(np.concatenate([lesioned[None], controls]))
    if permutations < 1 or not 0 < alpha < 1:
        raise ValueError(f"permutations must be at least 1 and alpha between 0 and 1, got {permutations} and {alpha}")
    beyond = lesioned - controls.mean(axis=0)
    slack = ROUNDING * float(np.abs(lesioned).sum() + np.abs(controls).max())
    orders = relabellings(n, permutations, seed)
    return Dissociation(
        tuple(names),
        beyond,
        centred(beyond[None])[0],
        advantage(beyond),
        float(additive_p_values(beyond[None], orders, slack)[0]),
        float(multiplicative_p_values(beyond[None], orders, slack)[0]),
        1.0 if n < LEAST_TAGS else 1 / len(orders),
        smallest_detectable(beyond, permutations=permutations, alpha=alpha, seed=seed, slack=slack),
        _pairs(beyond, lesioned, controls, names, alpha),
    )


def _pairs(
    beyond: Float[ndarray, "tags tags"],
    lesioned: Float[ndarray, "tags tags"],
    controls: Float[ndarray, "sets tags tags"],
    names: Sequence[str],
    alpha: float,
) -> tuple[DoubleDissociation, ...]:
    p_values = {
        (i, j): max(_excess_p_value(lesioned, controls, i, j), _excess_p_value(lesioned, controls, j, i))
        for i, j in itertools.combinations(range(len(names)), 2)
    }
    pairs = [
        DoubleDissociation(
            (names[i], names[j]), float(beyond[i, i] - beyond[i, j] + beyond[j, j] - beyond[j, i]), p_values[i, j]
        )
        for (i, j), adjusted in adjusted_p_values(p_values).items()
        if adjusted <= alpha and beyond[i, i] > beyond[i, j] and beyond[j, j] > beyond[j, i]
    ]
    return tuple(sorted(pairs, key=lambda pair: -pair.contrast))


def _excess_p_value(
    lesioned: Float[ndarray, "tags tags"], controls: Float[ndarray, "sets tags tags"], i: int, j: int
) -> float:
    """p-value of the excess change of tag i over tag j under the lesion of tag i."""
    return empirical_p_value(float(lesioned[i, i] - lesioned[i, j]), controls[:, i, i] - controls[:, i, j])
