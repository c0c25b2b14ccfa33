"""Double dissociation: whether lesions hurt their own tag more than others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.analysis.controls import empirical_p_value
from keyneurons.analysis.effects import check_finite

MOST_ORDERS = 50_000  # permutations that are listed one by one: of 8 tags
ROUNDING = 1e-12  # share of the changes: statistics that differ by less differ by rounding, and tie


@dataclass(frozen=True)
class DoubleDissociation:
    """Two tags each of whose lesions hurts its own words more than the other's.

    ``contrast`` is ``(d_ii - d_ij) + (d_jj - d_ji)`` in bits, ``p_value`` the larger of those of the two differences
    against the control sets of their tags: both must stand (Berger 1982, Technometrics 24:295).
    """

    tags: tuple[str, str]
    contrast: float
    p_value: float


@dataclass(frozen=True)
class Dissociation:
    """Whether lesions hurt their own tag more than others; matrices are ``[lesioned, measured]``, in bits a word.

    ``beyond`` is the change beyond the mean of the control sets of the lesioned tag, ``interaction`` the same without
    row and column effects; ``diagonal_advantage`` the mean of its diagonal minus that of its other entries.
    """

    tags: tuple[str, ...]
    beyond: Float[ndarray, "tags tags"]
    interaction: Float[ndarray, "tags tags"]
    diagonal_advantage: float
    p_value: float
    pairs: tuple[DoubleDissociation, ...]


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

    The measured tags are permuted against the lesioned ones, which row and column effects survive: all permutations of
    up to 8 tags if these are no more than ``permutations``, else so many at random. With 3 tags p cannot be below 1/6,
    with 4 below 1/24. A pair of tags dissociates doubly if each lesion hurts its own words more than the other's,
    beyond its control sets, and both differences stand against theirs at ``alpha`` after Benjamini-Hochberg over all
    pairs. With ``sets`` of them p cannot be below ``1 / (1 + sets)``, so a single one of ``m`` pairs needs
    ``m / alpha - 1`` sets: at .05 these are 119 for 4 tags and 2,719 for 17; with 20 sets nothing stands unless nearly
    all pairs do.

    Args:
        lesioned: mean change of the words of the measured tag under the lesion of the lesioned one's key neurons.
        controls: the same under each control set of the lesioned tag.
        names: the tags.
        permutations: most permutations.
        alpha: level of the pairs.
        seed: of random permutations.

    Returns:
        What was found.

    Raises:
        ValueError: If shapes do not fit, a change is not finite, there are fewer than 2 tags, or an option is out of
            range.
    """
    n = len(names)
    if lesioned.shape != (n, n) or controls.shape[1:] != (n, n) or not len(controls) or n < 2:
        raise ValueError(
            f"got changes {lesioned.shape} and {controls.shape} for {n} tags; at least 2 and a set are needed"
        )
    check_finite(np.concatenate([lesioned[None], controls]))
    if permutations < 1 or not 0 < alpha < 1:
        raise ValueError(f"permutations must be at least 1 and alpha between 0 and 1, got {permutations} and {alpha}")
    beyond = lesioned - controls.mean(axis=0)
    interaction = beyond - beyond.mean(1, keepdims=True) - beyond.mean(0, keepdims=True) + beyond.mean()
    diagonal = float(interaction.trace())
    advantage = diagonal / n - (float(interaction.sum()) - diagonal) / (n * (n - 1))
    p_value = _diagonal_p_value(
        interaction, permutations, seed, ROUNDING * float(np.abs(lesioned).sum() + np.abs(controls).max())
    )
    return Dissociation(
        tuple(names), beyond, interaction, advantage, p_value, _pairs(beyond, lesioned, controls, names, alpha)
    )


def _diagonal_p_value(interaction: Float[ndarray, "tags tags"], permutations: int, seed: int, slack: float) -> float:
    n = len(interaction)
    least = interaction.trace() - slack
    if exact := math.factorial(n) <= min(permutations, MOST_ORDERS):
        orders = np.array(list(itertools.permutations(range(n))))
    else:
        orders = np.random.default_rng(seed).permuted(np.tile(np.arange(n), (permutations, 1)), axis=1)
    as_large = int((interaction[np.arange(n), orders].sum(axis=1) >= least).sum())
    return as_large / len(orders) if exact else (1 + as_large) / (1 + len(orders))


def _pairs(
    beyond: Float[ndarray, "tags tags"],
    lesioned: Float[ndarray, "tags tags"],
    controls: Float[ndarray, "sets tags tags"],
    names: Sequence[str],
    alpha: float,
) -> tuple[DoubleDissociation, ...]:
    from scipy.stats import false_discovery_control

    every = list(itertools.combinations(range(len(names)), 2))
    p_values = np.array([max(_more_p_value(lesioned, controls, *pair) for pair in ((i, j), (j, i))) for i, j in every])
    stands = false_discovery_control(p_values) <= alpha
    found = [
        DoubleDissociation(
            (names[i], names[j]), float(beyond[i, i] - beyond[i, j] + beyond[j, j] - beyond[j, i]), float(p)
        )
        for (i, j), p, good in zip(every, p_values, stands, strict=True)
        if good and beyond[i, i] > beyond[i, j] and beyond[j, j] > beyond[j, i]
    ]
    return tuple(sorted(found, key=lambda pair: -pair.contrast))


def _more_p_value(
    lesioned: Float[ndarray, "tags tags"], controls: Float[ndarray, "sets tags tags"], i: int, j: int
) -> float:
    """Of how much more the lesion of tag i hurts i than j, against its control sets."""
    return empirical_p_value(float(lesioned[i, i] - lesioned[i, j]), controls[:, i, i] - controls[:, i, j])
