"""Metrics of runs that depend on the runs they are compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping

from keyneurons.analysis.multiple_tests import adjusted_p_values
from keyneurons.metrics import BEYOND_FORM, GRAMMAR, ONE_RANKING, SPECIAL, UNION_SIZE, WORTH, answer_p_value, at_sizes

Metrics = Mapping[str, Mapping[str, float]]

QUESTIONS = (SPECIAL, BEYOND_FORM, GRAMMAR)
GAIN = "comparison/worth_minus_union"
SEEDS, SEED_JACCARD, SEED_CHANCE = "comparison/seeds", "comparison/seed_jaccard", "comparison/seed_expected_jaccard"
EQUAL_SIZE, EQUAL_SIZE_ACCURACY = "comparison/equal_size", "comparison/equal_size_accuracy"


def adjusted(question: str) -> str:
    """p-value of a question of the verdict, adjusted over the compared runs."""
    return f"comparison/{question.removeprefix('verdict/')}_p_adjusted"


def with_comparison(metrics: Metrics) -> dict[str, dict[str, float]]:
    """Add the metrics of the comparison to those of every run.

    They are the worth minus the size of the union, the accuracy at a union size that the runs have
    in common, and the p-values of the verdict after Benjamini-Hochberg over the runs.
    """
    added = with_adjusted(metrics)
    for own in added.values():
        if WORTH in own and UNION_SIZE in own:
            own[GAIN] = own[WORTH] - own[UNION_SIZE]
    for run, size in common_sizes(metrics).items():
        added[run][EQUAL_SIZE] = float(size)
        if (accuracy := at_sizes(metrics[run], "accuracy").get(size)) is not None:
            added[run][EQUAL_SIZE_ACCURACY] = accuracy
    return added


def with_adjusted(metrics: Metrics) -> dict[str, dict[str, float]]:
    """Add the p-values of the verdict after Benjamini-Hochberg over the runs, or replace them."""
    added = {run: dict(own) for run, own in metrics.items()}
    for question in QUESTIONS:
        name = answer_p_value(question)
        p_values = {run: own[name] for run, own in metrics.items() if math.isfinite(own.get(name, math.nan))}
        for run, p_value in adjusted_p_values(p_values).items():
            added[run][adjusted(question)] = p_value
    return added


def common_sizes(metrics: Metrics) -> dict[str, int]:
    """The union size at which each run is compared with the others of its grid of sizes.

    It is the largest size that at least half of the runs of the same grid reach, and at least two
    if there are several. Methods with one ranking for all tags, whose union does not grow with the
    number of tags, do not count.
    """
    grids: dict[frozenset[int], list[str]] = {}
    for run, own in metrics.items():
        if grid := frozenset(at_sizes(own, "random")):
            grids.setdefault(grid, []).append(run)
    common: dict[str, int] = {}
    for grid, runs in grids.items():
        counted = [run for run in runs if not metrics[run].get(ONE_RANKING)] or runs
        reached = [at_sizes(metrics[run], "accuracy") for run in counted]
        least = max(len(counted) / 2, min(2, len(counted)))
        shared = [size for size in grid if sum(size in own for own in reached) >= least]
        if shared:
            common |= dict.fromkeys(runs, max(shared))
    return common
