"""Rules that decide whether published claims agree with measured values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from keyneurons.analysis.overlap import mean_off_diagonal, neurons_by_layer, overlap
from keyneurons.records import NeuronSets

Verdict = Literal["holds", "does not hold", "cannot be told"]

OPEN = frozenset({"ADJ", "ADV", "INTJ", "NOUN", "PROPN", "VERB"})
CLOSED = frozenset({"ADP", "AUX", "CCONJ", "DET", "NUM", "PART", "PRON", "SCONJ"})
"""Open and closed classes of Universal Dependencies; PUNCT, SYM and X are neither."""


def within(values: Collection[float], lowest: float, highest: float) -> Verdict:
    """A claimed range holds if every value lies in it, and does not hold if none does."""
    inside = [lowest <= value <= highest for value in values]
    if not inside or any(inside) != all(inside):
        return "cannot be told"
    return "holds" if all(inside) else "does not hold"


def exceeds(low: float, high: float, bound: float) -> Verdict:
    """A claimed lower bound holds if the whole interval is above it, and not if all is below."""
    return "holds" if low > bound else "does not hold" if high < bound else "cannot be told"


def share_exceeds(count: int, of: int, chance: float, alpha: float) -> tuple[float, Verdict]:
    """Whether a share is above the one expected by chance, by a two-sided exact binomial test.

    Neurons are taken as independent draws, so the p-value of correlated neurons is too small.

    Returns:
        The p-value and the verdict.
    """
    from scipy.stats import binomtest

    p_value = float(binomtest(count, of, chance).pvalue) if of else 1.0
    if p_value > alpha:
        return p_value, "cannot be told"
    return p_value, "holds" if count / of > chance else "does not hold"


@dataclass(frozen=True)
class Contrast:
    """Difference of the means of two groups of tags; None if one is empty."""

    difference: float | None
    p_value: float

    def verdict(self, alpha: float) -> Verdict:
        """Whether the first group is above the second."""
        if self.difference is None or self.p_value > alpha:
            return "cannot be told"
        return "holds" if self.difference > 0 else "does not hold"


def class_contrast(values: Mapping[str, float]) -> Contrast:
    """Mean of the closed classes minus that of the open classes; other tags are ignored.

    The two-sided p-value is exact: the share of all ways to call as many of these tags closed
    whose difference is at least as large. Without tags of both classes there is no difference.
    """
    tags = sorted(tag for tag in values if tag in OPEN | CLOSED)
    closed = [i for i, tag in enumerate(tags) if tag in CLOSED]
    if not closed or len(closed) == len(tags):
        return Contrast(None, 1.0)
    numbers = np.array([values[tag] for tag in tags])
    chosen = np.array(list(combinations(range(len(tags)), len(closed))))
    sums = numbers[chosen].sum(axis=1)
    differences = sums / len(closed) - (numbers.sum() - sums) / (len(tags) - len(closed))
    own = float(numbers[closed].mean() - np.delete(numbers, closed).mean())
    return Contrast(own, float((np.abs(differences) >= abs(own) - 1e-12).mean()))


def null_holds(p_adjusted: Sequence[float], least_p: float, alpha: float) -> Verdict:
    """A null does not hold if one of several tests is significant after adjustment.

    Without a significant test it holds, unless no single test could have been significant after
    Bonferroni's correction, which Benjamini-Hochberg's equals for a single effect.

    Args:
        p_adjusted: p-values adjusted for their number.
        least_p: smallest p-value that a test can have before adjustment.
        alpha: significance level.
    """
    if any(p <= alpha for p in p_adjusted):
        return "does not hold"
    return "cannot be told" if not p_adjusted or least_p * len(p_adjusted) > alpha else "holds"


def expected_union(sets: NeuronSets) -> float:
    """Expected size of the union if every tag had as many random neurons in every layer."""
    sizes = np.array([neurons_by_layer(sets, tag) for tag in sets])
    return float((sets.neurons_per_layer * (1 - (1 - sizes / sets.neurons_per_layer).prod(axis=0))).sum())


def expected_coefficient(sets: NeuronSets) -> float:
    """Expected mean overlap coefficient of two tags with as many random neurons in every layer.

    Raises:
        ValueError: fewer than two tags have neurons.
    """
    pairs = overlap(sets)
    sizes = pairs.count.diagonal()
    smaller = np.minimum.outer(sizes, sizes).astype(float)
    smaller[smaller == 0] = np.nan
    return mean_off_diagonal(pairs.expected / smaller)


def first_of_later_layers(n_layers: int) -> int:
    """The first of the middle-to-late layers: of the last two thirds, rounded up."""
    return -(-n_layers // 3)
