"""Effects of lesions: changes by tag, their intervals, and comparison with control sets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.analysis.controls import empirical_p_value
from keyneurons.analysis.sentence_bootstrap import Estimate, SentenceBootstrap
from keyneurons.analysis.sequential import Stopping

POWER_QUANTILE = 0.8416212335729143  # 80 % quantile of the normal distribution


@dataclass(frozen=True)
class Effect:
    """Change of some words by a lesion, in bits per word, compared with a family of control sets.

    ``sets`` is the number of control sets. ``p_value`` is one-sided: ``(1 + # control sets that
    hurt at least as much) / (1 + sets)``, or that of a sequential test. ``effect_size`` is the
    distance from the mean control in standard deviations of the controls; None if all controls are
    equal. ``detectable`` is the smallest change beyond the mean control that would have been
    significant with a power of 80 %; None if the control sets are too few.
    """

    change: float
    control_mean: float
    control_std: float
    p_value: float
    effect_size: float | None
    detectable: float | None
    sets: int


def mean_changes(
    changes: Float[ndarray, "conditions words"], tags: Int[ndarray, " words"], n_tags: int
) -> Float[ndarray, "conditions tags"]:
    """Mean change over the words of every tag.

    Raises:
        ValueError: If a tag has no words or is out of range, or a change is not finite.
    """
    check_finite(changes)
    if tags.size and not 0 <= tags.min() <= tags.max() < n_tags:
        raise ValueError(f"tags must lie in 0..{n_tags - 1}, got {tags.min()}..{tags.max()}")
    counts = np.bincount(tags, minlength=n_tags)
    if not counts.all():
        raise ValueError(f"tag {int(counts.argmin())} has no words")
    return np.stack([changes[:, tags == tag].mean(axis=1) for tag in range(n_tags)], axis=1)


def bootstrap_interval(
    changes: Float[ndarray, " words"], sentences: Int[ndarray, " words"], *, draws: int, seed: int
) -> tuple[float, float]:
    """95 % interval of a mean change; whole sentences are drawn with replacement.

    Returns:
        Its two ends; they are equal if all words are from one sentence.

    Raises:
        ValueError: If there are no words, a change is not finite, or ``draws`` is below 1.
    """
    check_finite(changes)
    bootstrap = SentenceBootstrap.of(sentences, draws, seed)
    interval = Estimate.of(changes.mean(), bootstrap.means(changes[None])[:, 0])
    return interval.low, interval.high


def effect(change: float, controls: Float[ndarray, " sets"], alpha: float, stopping: Stopping | None = None) -> Effect:
    """Compare a change with the changes of control sets, in the order of drawing.

    The smallest detectable change is significant at ``alpha`` beside these control sets with a
    power of 80 % if changes of lesions vary like those of the control sets, normally distributed.
    A sequential test (``stopping``) that ended early estimates the critical control set from the
    mean and the standard deviation of those drawn (Blom 1958).

    A sequential test draws fewer sets where more of the first ones hurt at least as much, which
    makes their mean slightly too high, and effect sizes slightly too small.

    Raises:
        ValueError: If there are fewer than 2 sets, a sequential test has not ended, or a change is
            not finite.
    """
    if len(controls) < 2:
        raise ValueError(f"an effect needs at least 2 control sets, got {len(controls)}")
    p_value = empirical_p_value(change, controls) if stopping is None else stopping.p_value(change, controls)
    alike = bool((controls == controls[0]).all())  # rounding can make their mean differ from them
    mean, std = (float(controls[0]), 0.0) if alike else (float(controls.mean()), float(controls.std(ddof=1)))
    size = (change - mean) / std if std > 0 else (0.0 if change == mean else None)
    n, most = len(controls), len(controls) if stopping is None else stopping.most
    as_large = math.floor(alpha * (1 + most) + 1e-9) - 1  # control sets that may hurt as much
    detectable = None
    if as_large >= 0:
        position = min(as_large, most - 1)
        spread = std if n == most else _spread_of_new(std, n)
        highest = float(np.sort(controls)[::-1][position]) - mean if n == most else spread * _blom(position, most)
        detectable = highest + POWER_QUANTILE * spread
    return Effect(change, mean, std, p_value, size, detectable, n)


def _spread_of_new(std: float, n: int) -> float:
    """Deviation of a new value from a mean of ``n``; the bias of a small ``std`` is removed."""
    return std * (4 * n - 3) / (4 * n - 4) * math.sqrt(1 + 1 / n)


def _blom(position: int, n: int) -> float:
    """Expected value of a normal order statistic, counted from the highest at 0 (Blom 1958)."""
    return NormalDist().inv_cdf((n - position - 0.375) / (n + 0.25))


def check_finite(changes: Float[ndarray, "*shape"]) -> None:
    """Raise if a change is not finite.

    Raises:
        ValueError: If a change is not finite.
    """
    if not np.isfinite(changes).all():
        raise ValueError(f"changes must be finite, got {(~np.isfinite(changes)).sum()} that are not")
