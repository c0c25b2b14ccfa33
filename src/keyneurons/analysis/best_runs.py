"""Which run of many is best, for every question that is asked of them."""

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
    """The best run for a question, of ``of`` that it was chosen from; ``ties`` are others with the same value."""

    question: str
    metric: str
    run: str
    value: float
    of: int
    ties: tuple[str, ...]


def best_runs(metrics: Metrics) -> tuple[Best, ...]:
    """The best run for every question that any run has an answer to; ties go to the smaller union, then to the first.

    ``accuracy``, ``advantage`` over matched random sets and ``selectivity`` ask for the highest on test words,
    ``dev`` for the highest accuracy on dev words. ``overlap`` asks for the least between the sets of different tags of
    the runs that beat matched random sets, since sets at random hardly overlap; of all runs where none does.
    ``small_union`` asks for the fewest neurons whose advantage is within one standard deviation of the best run's
    random sets from the largest.

    Args:
        metrics: of every run, by MLflow's names.

    Returns:
        The answers, in this order.
    """
    beating = {run: own for run, own in metrics.items() if own.get(RANDOM_P_VALUE, 1.0) <= ALPHA}
    asked = [
        _extreme("accuracy", metrics, ACCURACY, 1),
        _extreme("dev", metrics, DEV_ACCURACY, 1),
        _extreme("advantage", metrics, ADVANTAGE, 1),
        _extreme("selectivity", metrics, SELECTIVITY, 1),
        _extreme("overlap", beating or metrics, MEAN_JACCARD, -1),
        _small_union(metrics),
    ]
    return tuple(best for best in asked if best is not None)


def _extreme(question: str, metrics: Metrics, metric: str, sign: int) -> Best | None:
    """The run with the largest value, or the smallest for a negative sign."""
    known = {run: own[metric] for run, own in metrics.items() if math.isfinite(own.get(metric, math.nan))}
    if not known:
        return None
    value = max(known.values(), key=lambda each: sign * each)
    alike = [run for run, each in known.items() if each == value]
    best = min(alike, key=lambda run: metrics[run].get(UNION_SIZE, math.inf))
    return Best(question, metric, best, value, len(known), tuple(run for run in alike if run != best))


def _small_union(metrics: Metrics) -> Best | None:
    largest = _extreme("advantage", metrics, ADVANTAGE, 1)
    if largest is None:
        return None
    least = largest.value - metrics[largest.run].get(RANDOM_SPREAD, 0.0)
    near = {run: own for run, own in metrics.items() if own.get(ADVANTAGE, -math.inf) >= least}
    return _extreme("small_union", near, UNION_SIZE, -1)
