"""Agreement of selection methods on the same activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.analysis.stability import expected_jaccards, jaccard
from keyneurons.records import NeuronSets, Scores

DEPTH = 1000  # compared ranks; with p = 0.9 the first 100 have all but .00001 of the weight

Item = TypeVar("Item")


@dataclass(frozen=True)
class Agreement:
    """Agreement of every pair of methods; ``[methods, methods]`` matrices of means over tags.

    ``jaccard_by_tag`` has one matrix per tag. Tags with an undefined measure are excluded: Jaccard
    and its expectation are undefined if both sets are empty, rank-biased overlap if a method gives
    all neurons score 0, tau if a method gives all neurons the same score; nan if no tag remains.
    The diagonal is 1, except that of ``expected_jaccard``, which is for two independent random sets
    of the method's sizes.
    """

    methods: tuple[str, ...]
    jaccard: Float[ndarray, "methods methods"]
    expected_jaccard: Float[ndarray, "methods methods"]
    rank_biased_overlap: Float[ndarray, "methods methods"]
    kendall_tau: Float[ndarray, "methods methods"]
    jaccard_by_tag: Mapping[str, Float[ndarray, "methods methods"]]


def agreement(methods: Mapping[str, tuple[Scores, NeuronSets]], tag_names: Sequence[str]) -> Agreement:
    """Compare the key neurons and the rankings of every two methods, tag by tag.

    Neurons are ranked by the magnitude of their scores. Rank-biased overlap covers neurons with
    non-zero scores up to rank 1000, ties in the order of neurons; tau covers all neurons. Rows of
    the scores are in the order of ``tag_names``.

    Returns:
        The matrices, methods in the given order.

    Raises:
        ValueError: If there are fewer than 2 methods or no tags, methods differ in site, layers or
            width, or the tags or scores of a method do not match.
    """
    _check_methods(methods, tag_names)
    sets = [of_method for _, of_method in methods.values()]
    magnitudes = [list(scores.values.abs().cpu().double().numpy()) for scores, _ in methods.values()]
    rankings = [[_ranking(of_tag) for of_tag in of_method] for of_method in magnitudes]
    jaccards = symmetric(lambda a, b: in_order(jaccard(a, b), tag_names), sets)
    expected = symmetric(lambda a, b: in_order(expected_jaccards(a, b), tag_names), sets)
    for i, own in enumerate(sets):
        expected[:, i, i] = in_order(expected_jaccards(own, own), tag_names)
    overlaps = symmetric(lambda a, b: [_overlap_or_nan(x, y) for x, y in zip(a, b, strict=True)], rankings)
    taus = symmetric(lambda a, b: [_tau_or_nan(x, y) for x, y in zip(a, b, strict=True)], magnitudes)
    return Agreement(
        methods=tuple(methods),
        jaccard=mean_over_tags(jaccards),
        expected_jaccard=mean_over_tags(expected),
        rank_biased_overlap=mean_over_tags(overlaps),
        kendall_tau=mean_over_tags(taus),
        jaccard_by_tag=dict(zip(tag_names, jaccards, strict=True)),
    )


def rank_biased_overlap(first: Int[ndarray, " _a"], second: Int[ndarray, " _b"], p: float = 0.9) -> float:
    """Extrapolated rank-biased overlap of two rankings without ties, strongest first.

    Webber, Moffat & Zobel 2010 (ACM TOIS 28:4), equation 32. With the shorter ranking S of length
    s, the longer L of length l, and X_d the number of common items among the first d of both::

        (1-p)/p (sum_{d=1..l} p^d X_d/d + sum_{d=s+1..l} p^d X_s (d-s)/(s d))
        + p^l ((X_l - X_s)/l + X_s/s)

    Beyond the end of a ranking, the share of agreement is assumed constant. The weight of a depth
    is ``p`` times that of the previous depth: with .9 the first 10 ranks have 86 % of the weight.

    Returns:
        0 for disjoint rankings to 1 for identical ones.

    Raises:
        ValueError: If a ranking is empty or has duplicates, or ``p`` is not between 0 and 1.
    """
    if not 0 < p < 1:
        raise ValueError(f"p must lie between 0 and 1, both excluded, got {p}")
    (s, shorter), (length, longer) = sorted(((len(r), r) for r in (first, second)), key=lambda sized: sized[0])
    if not s or len(np.unique(shorter)) < s or len(np.unique(longer)) < length:
        raise ValueError(f"rankings must be non-empty and have no duplicates, got {len(first)} and {len(second)} items")
    rank, other_rank = np.intersect1d(shorter, longer, assume_unique=True, return_indices=True)[1:]
    shared = np.bincount(np.maximum(rank, other_rank), minlength=length).cumsum()  # X_d for d = 1..l
    at_s, at_l = shared[s - 1], shared[-1]
    depth = np.arange(1, length + 1)
    beyond = at_s * np.maximum(depth - s, 0) / s
    observed = (1 - p) / p * float(p**depth @ ((shared + beyond) / depth))
    return min(1.0, observed + p**length * float((at_l - at_s) / length + at_s / s))  # rounding can exceed 1


def kendall_tau(first: Float[ndarray, " neurons"], second: Float[ndarray, " neurons"]) -> float | None:
    """Kendall's tau-b of two vectors of score magnitudes, in -1..1.

    ``(C - D) / sqrt((pairs - ties in first) (pairs - ties in second))`` with C concordant and D
    discordant pairs (Kendall 1945, Biometrika 33:239). All neurons have equal weight, including
    those that mark no tag.

    Returns:
        Tau, or None if one vector is constant.

    Raises:
        ValueError: If the vectors differ in length or a value is not finite.
    """
    from scipy.stats import kendalltau

    if len(first) != len(second) or not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError(f"tau needs finite vectors of equal length, got {first} and {second}")
    if not first.size or (first == first[0]).all() or (second == second[0]).all():
        return None
    return float(kendalltau(first, second).statistic)


def _check_methods(methods: Mapping[str, tuple[Scores, NeuronSets]], tag_names: Sequence[str]) -> None:
    if len(methods) < 2 or not tag_names:
        raise ValueError(f"agreement needs at least 2 methods and 1 tag, got {[*methods]} and {[*tag_names]}")
    of_first, (first, _) = next(iter(methods.items()))
    shape = (first.site, first.layers, first.neurons_per_layer)
    for name, (scores, sets) in methods.items():
        for own in ((s.site, s.layers, s.neurons_per_layer) for s in (scores, sets)):
            if own != shape:
                raise ValueError(f"{of_first} and {name} must share site, layers and width, got {shape} and {own}")
        if len(scores.values) != len(tag_names) or set(sets) - set(tag_names):
            raise ValueError(f"tags of {name} must be {[*tag_names]}, got {len(scores.values)} rows and {[*sets]}")
        if not scores.values.isfinite().all():
            n_infinite = int((~scores.values.isfinite()).sum())
            raise ValueError(f"scores of {name} must be finite, got {n_infinite} that are not")


def _ranking(magnitudes: Float[ndarray, " neurons"]) -> Int[ndarray, " _ranks"]:
    return np.argsort(-magnitudes, kind="stable")[: min(DEPTH, np.count_nonzero(magnitudes))]


def _overlap_or_nan(first: Int[ndarray, " _a"], second: Int[ndarray, " _b"]) -> float:
    return rank_biased_overlap(first, second) if first.size and second.size else np.nan


def _tau_or_nan(first: Float[ndarray, " neurons"], second: Float[ndarray, " neurons"]) -> float:
    return np.nan if (tau := kendall_tau(first, second)) is None else tau


def in_order(by_tag: Mapping[str, float], tag_names: Sequence[str]) -> list[float]:
    """The values of these tags; nan for tags without a value."""
    return [by_tag.get(tag, np.nan) for tag in tag_names]


def symmetric(
    of_pair: Callable[[Item, Item], Sequence[float]], items: Sequence[Item]
) -> Float[ndarray, "tags methods methods"]:
    """Symmetric matrices of a pairwise measure, one per tag; the diagonal is 1."""
    pairs = {pair: of_pair(items[pair[0]], items[pair[1]]) for pair in combinations(range(len(items)), 2)}
    matrices = np.ones((len(pairs[0, 1]), len(items), len(items)))
    for (i, j), by_tag in pairs.items():
        matrices[:, i, j] = matrices[:, j, i] = by_tag
    return matrices


def mean_over_tags(matrices: Float[ndarray, "tags methods methods"]) -> Float[ndarray, "methods methods"]:
    """Mean over the tags with a defined value; nan if there is none."""
    defined = ~np.isnan(matrices)
    total, count = np.where(defined, matrices, 0.0).sum(axis=0), defined.sum(axis=0)
    means: Float[ndarray, "methods methods"] = np.full(total.shape, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means
