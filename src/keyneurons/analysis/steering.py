"""Measures of generated texts beside control sets, and distances between texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.analysis.sentence_bootstrap import LEVEL, Estimate


@dataclass(frozen=True)
class Sums:
    """A measure as sums over clusters, such as the texts of a prompt, under some conditions.

    Its value is the sum of the totals divided by that of the counts, or 0 if nothing was counted.
    """

    totals: Float[ndarray, "conditions clusters"]
    counts: Float[ndarray, "conditions clusters"]

    def __post_init__(self) -> None:
        if self.totals.shape != self.counts.shape or self.totals.shape[1] < 2:
            raise ValueError(
                f"totals and counts must be of at least 2 clusters, got {self.totals.shape} and {self.counts.shape}"
            )

    @property
    def values(self) -> Float[ndarray, " conditions"]:
        """The value under each condition."""
        values: ndarray = self.totals.sum(axis=1) / _positive(self.counts.sum(axis=1))
        return values

    def resampled(self, rng: np.random.Generator, draws: int) -> Float[ndarray, "draws conditions"]:
        """Values in resamples of the clusters, the same clusters for all conditions.

        Bayesian bootstrap (Rubin 1981, Annals of Statistics 9:130). Distances from the value are
        multiplied by ``sqrt((n + 1) / (n - 1))`` for ``n`` clusters, which makes the variance of a
        mean unbiased, and by the quantile of Student's t with ``n - 1`` degrees of freedom over
        that of the normal distribution, since percentiles of few clusters cover too little
        (Hesterberg 2015, The American Statistician 69:371).
        """
        from scipy.stats import norm, t

        n = self.totals.shape[1]
        weights = rng.dirichlet(np.ones(n), draws)
        values = weights @ self.totals.T / _positive(weights @ self.counts.T)
        quantile = (1 + LEVEL) / 2
        wider = math.sqrt((n + 1) / (n - 1)) * t.ppf(quantile, n - 1) / norm.ppf(quantile)
        resampled: ndarray = self.values + wider * (values - self.values)
        return resampled

    def estimates(self, *, draws: int, seed: int) -> tuple[Estimate, ...]:
        """The value under each condition with its 95 % interval over clusters."""
        resampled = self.resampled(np.random.default_rng(seed), draws)
        return tuple(Estimate.of(value, own) for value, own in zip(self.values, resampled.T, strict=True))


@dataclass(frozen=True)
class Beside:
    """A measure under a change of key neurons, and of control sets: their mean, the difference.

    ``p_value`` is two-sided, as in ``exchangeable_p_value``; ``of_sets`` has the values of the
    single control sets.
    """

    key: Estimate
    sets: Estimate
    difference: Estimate
    p_value: float
    of_sets: tuple[float, ...]


def beside_sets(sums: Sums, *, draws: int, seed: int) -> Beside:
    """Compare the first condition, of the key neurons, with the others, of control sets.

    Clusters are resampled jointly for all conditions. Each resample adds an error of the mean of
    the ``n`` control sets: a draw of Student's t with ``n - 1`` degrees of freedom, times their
    standard error, as in ``analysis.lesion_intervals.beyond_controls``.

    Args:
        sums: the measure under all conditions.
        draws: number of resamples.
        seed: seed of the resamples.

    Returns:
        The comparison.

    Raises:
        ValueError: there are fewer than 2 control sets, or a value is not finite.
    """
    key, controls = float(sums.values[0]), sums.values[1:]
    if len(controls) < 2 or not np.isfinite(sums.values).all():
        raise ValueError(f"a comparison needs at least 2 control sets and finite values, got {sums.values.tolist()}")
    rng = np.random.default_rng(seed)
    resampled = sums.resampled(rng, draws)
    alike = bool((controls == controls[0]).all())  # rounding can make their mean differ from them
    mean, deviation = (float(controls[0]), 0.0) if alike else (float(controls.mean()), float(controls.std(ddof=1)))
    error = deviation / math.sqrt(len(controls)) * rng.standard_t(len(controls) - 1, draws)
    means = resampled[:, 1:].mean(axis=1) + error
    return Beside(
        Estimate.of(key, resampled[:, 0]),
        Estimate.of(mean, means),
        Estimate.of(key - mean, resampled[:, 0] - means),
        exchangeable_p_value(key, controls),
        tuple(controls.tolist()),
    )


def exchangeable_p_value(value: float, controls: Float[ndarray, " sets"]) -> float:
    """Two-sided p-value of a value that is exchangeable with those of control sets under the null.

    The share of all ``1 + n`` values that are at least as far from their common mean as the value:
    a permutation test, at least ``1 / (1 + n)``. Ties count against the value.
    """
    values = np.array([value, *controls])
    distance = np.abs(values - values.mean())
    rounding = 1e-12 * np.abs(values).max()
    return float((distance >= distance[0] - rounding).mean())


def word_distance(words: Sequence[str], others: Sequence[str]) -> float:
    """Normalised edit distance of two texts in words.

    The least number of insertions, deletions and substitutions of words (Levenshtein 1966), divided
    by the number of words of the longer text: 0 for equal texts, 1 for texts without a common word.
    """
    if not words and not others:
        return 0.0
    row = steps = np.arange(len(others) + 1)
    for word in words:
        changed = np.minimum(row[1:] + 1, row[:-1] + [other != word for other in others])
        row = np.minimum.accumulate(np.concatenate([[row[0] + 1], changed]) - steps) + steps  # insertions
    return float(row[-1]) / max(len(words), len(others))


def cosine_distance(a: Float[ndarray, "*texts hidden"], b: Float[ndarray, "*texts hidden"]) -> Float[ndarray, "*texts"]:
    """1 minus the cosine of two vectors; 0 for equal vectors."""
    a, b = (each.astype(np.float64) for each in (a, b))
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosine = (a * b).sum(axis=-1) / np.where(norms > 0, norms, 1.0)
    return np.where((a == b).all(axis=-1), 0.0, 1 - cosine)


def _positive(counts: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
    return np.where(counts > 0, counts, 1.0)
