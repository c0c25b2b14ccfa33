"""The best of several runs by each of several criteria."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from keyneurons.analysis.run_metrics import EQUAL_SIZE, EQUAL_SIZE_ACCURACY, GAIN, Metrics
from keyneurons.metrics import (
    ACCURACY,
    BEYOND_FORM,
    DEV_ACCURACY,
    FORM_DIFFERENCE,
    MEAN_JACCARD,
    ONE_RANKING,
    SPECIAL,
    SPECIFICITY,
    UNION_SIZE,
    at_sizes,
)


@dataclass(frozen=True)
class Best:
    """The best run by a criterion.

    ``of`` is the number of runs compared, ``ties`` are other runs with the same value. ``special``
    says whether only runs that are better than random neurons were compared; otherwise there is no
    such run. ``size`` is the union size of a comparison at equal size, and ``smaller`` the number
    of runs that do not reach it.
    """

    question: str
    metric: str
    run: str
    value: float
    of: int
    ties: tuple[str, ...]
    special: bool = True
    size: int | None = None
    smaller: int = 0


def best_runs(metrics: Metrics) -> tuple[Best, ...]:
    """The best run by each applicable criterion; ties go to the smaller union, then the first run.

    Methods with one ranking for all tags are never best: their small unions are an artefact of that
    ranking. Runs that are not better than random neurons are best only if no run is better.

    ``accuracy`` is the highest on test words, ``dev`` on dev words, ``equal_size`` on test words at
    a union size that the runs have in common, for every grid of sizes. ``worth`` is the largest
    worth minus the size of the union. ``specificity`` is the highest; ``beyond_form`` is the
    largest difference to the word form among runs that go beyond it; ``overlap`` is the lowest
    between the sets of different tags, since random sets hardly overlap; ``few_neurons`` is the
    smallest union among runs better than random and label-free neurons.

    Args:
        metrics: metrics of every run by MLflow name, with those of the comparison.

    Returns:
        The best runs, in this order; criteria without a candidate are missing.
    """
    ranked = {run: own for run, own in metrics.items() if not own.get(ONE_RANKING)}
    special = _at_least(ranked, SPECIAL, 1.0)
    pool = special or ranked
    candidates = [
        _extreme("accuracy", pool, ACCURACY),
        _extreme("dev", pool, DEV_ACCURACY),
        *_at_equal_size(pool),
        _extreme("worth", pool, GAIN),
        _extreme("specificity", pool, SPECIFICITY),
        _extreme("beyond_form", _at_least(pool, BEYOND_FORM, 1.0), FORM_DIFFERENCE),
        _extreme("overlap", pool, MEAN_JACCARD, -1),
        _extreme("few_neurons", _at_least(pool, SPECIAL, 2.0), UNION_SIZE, -1),
    ]
    return tuple(replace(best, special=bool(special)) for best in candidates if best is not None)


def _at_least(metrics: Metrics, name: str, least: float) -> Metrics:
    return {run: own for run, own in metrics.items() if own.get(name, -math.inf) >= least}


def _extreme(question: str, metrics: Metrics, metric: str, sign: int = 1) -> Best | None:
    """The run with the largest value, or the smallest if the sign is negative."""
    values = {run: own[metric] for run, own in metrics.items() if math.isfinite(own.get(metric, math.nan))}
    if not values:
        return None
    value = max(values.values(), key=lambda each: sign * each)
    alike = [run for run, each in values.items() if each == value]
    best = min(alike, key=lambda run: metrics[run].get(UNION_SIZE, math.inf))
    return Best(question, metric, best, value, len(values), tuple(run for run in alike if run != best))


def _at_equal_size(metrics: Metrics) -> Iterator[Best]:
    """The most accurate run of every grid of sizes, at the size that its runs have in common."""
    grids: dict[frozenset[int], dict[str, float]] = {}
    for run, own in metrics.items():
        if EQUAL_SIZE in own:
            grids.setdefault(frozenset(at_sizes(own, "random")), {})[run] = own[EQUAL_SIZE]
    for sizes in grids.values():
        best = _extreme("equal_size", {run: metrics[run] for run in sizes}, EQUAL_SIZE_ACCURACY)
        if best is not None:
            yield replace(best, size=int(sizes[best.run]), smaller=len(sizes) - best.of)
