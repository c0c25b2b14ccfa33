"""Effects of lesions: changes by tag, their intervals, and comparison with control sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.analysis.controls import empirical_p_value


@dataclass(frozen=True)
class Effect:
    """Change of some words by a lesion, in bits per word, compared with a family of control sets.

    ``p_value`` is one-sided: ``(1 + # control sets that hurt at least as much) / (1 + sets)``.
    ``effect_size`` is the distance from the mean control in standard deviations of the controls;
    None if all controls are equal.
    """

    change: float
    control_mean: float
    control_std: float
    p_value: float
    effect_size: float | None


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
    changes: Float[ndarray, " words"], sentences: Int[ndarray, " words"], *, draws: int, level: float, seed: int
) -> tuple[float, float]:
    """Percentile interval of a mean change; whole sentences are drawn with replacement.

    Returns:
        Its two ends; they are equal if all words are from one sentence.

    Raises:
        ValueError: If there are no words, a change is not finite, ``draws`` is below 1 or ``level``
            is not in 0..1.
    """
    if not len(changes) or draws < 1 or not 0 < level < 1:
        raise ValueError(f"an interval needs words, draws and a level in 0..1, got {len(changes)}, {draws}, {level}")
    check_finite(changes)
    _, place = np.unique(sentences, return_inverse=True)
    sums, counts = np.bincount(place, weights=changes), np.bincount(place)
    weights = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=draws)
    means = (weights @ sums) / (weights @ counts)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def effect(change: float, controls: Float[ndarray, " sets"]) -> Effect:
    """Compare a change with the changes of control sets.

    Raises:
        ValueError: If there are fewer than 2 sets, or a change is not finite.
    """
    if len(controls) < 2:
        raise ValueError(f"an effect needs at least 2 control sets, got {len(controls)}")
    p_value = empirical_p_value(change, controls)
    alike = bool((controls == controls[0]).all())  # rounding can make their mean differ from them
    mean, std = (float(controls[0]), 0.0) if alike else (float(controls.mean()), float(controls.std(ddof=1)))
    size = (change - mean) / std if std > 0 else (0.0 if change == mean else None)
    return Effect(change, mean, std, p_value, size)


def check_finite(changes: Float[ndarray, "*shape"]) -> None:
    """Raise if a change is not finite.

    Raises:
        ValueError: If a change is not finite.
    """
    if not np.isfinite(changes).all():
        raise ValueError(f"changes must be finite, got {(~np.isfinite(changes)).sum()} that are not")
