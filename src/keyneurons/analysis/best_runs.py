"""The best of several runs by each of several criteria."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from keyneurons.metrics import (
    ACCURACY,
    ADVANTAGE,
    ALPHA,
    DEV_ACCURACY,
    MEAN_JACCARD,
    RANDOM_P_VALUE,
    RANDOM_SPREAD,
    SELECTIVITY,
    UNION_SIZE,
)

Metrics = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Best:
    """The best run by a criterion.

    ``of`` is the number of runs compared, ``ties`` are other runs with the same value.
    """

    question: str
    metric: str
    run: str
    value: float
    of: int
    ties: tuple[str, ...]


def best_runs(metrics: Metrics) -> tuple[Best, ...]:
    """The best run by each applicable criterion; ties go to the smaller union, then the first run.

    ``accuracy``, ``advantage`` over matched random sets and ``selectivity`` are the highest on test
    words, ``dev`` is the highest accuracy on dev words. ``overlap`` is the lowest between the sets
    of different tags, among runs that beat matched random sets, since random sets hardly overlap;
    among all runs if none does. ``small_union`` is the smallest union among runs whose advantage is
    within one standard deviation, of the best run's random sets, of the largest.

    Args:
        metrics: metrics of every run, by MLflow name.

    Returns:
        The best runs, in this order.
    """
    beating = {run: own for run, own in metrics.items() if own.get(RANDOM_P_VALUE, 1.0) <= ALPHA}
    candidates = [
        _extreme("accuracy", metrics, ACCURACY, 1),
        _extreme("dev", metrics, DEV_ACCURACY, 1),
        _extreme("advantage", metrics, ADVANTAGE, 1),
        _extreme("selectivity", metrics, SELECTIVITY, 1),
        _extreme("overlap", beating or metrics, MEAN_JACCARD, -1),
        _small_union(metrics),
    ]
    return tuple(best for best in candidates if best is not None)


def _extreme(question: str, metrics: Metrics, metric: str, sign: int) -> Best | None:
    """The run with the largest value, or the smallest if the sign is negative."""
    values = {run: own[metric] for run, own in metrics.items() if math.isfinite(own.get(metric, math.nan))}
    if not values:
        return None
    value = max(values.values(), key=lambda each: sign * each)
    alike = [run for run, each in values.items() if each == value]
    best = min(alike, key=lambda run: metrics[run].get(UNION_SIZE, math.inf))
    return Best(question, metric, best, value, len(values), tuple(run for run in alike if run != best))


def _small_union(metrics: Metrics) -> Best | None:
    largest = _extreme("advantage", metrics, ADVANTAGE, 1)
    if largest is None:
        return None
    least = largest.value - metrics[largest.run].get(RANDOM_SPREAD, 0.0)
    near = {run: own for run, own in metrics.items() if own.get(ADVANTAGE, -math.inf) >= least}
    return _extreme("small_union", near, UNION_SIZE, -1)
