"""Metrics of replicates: runs that differ in their seed only."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keyneurons.analysis.run_metrics import QUESTIONS
from keyneurons.analysis.sentence_bootstrap import LEVEL
from keyneurons.metrics import ONE_RANKING, WORTH_REACHED, high, least, low, most

_P_VALUE = re.compile(r"(?:.*[/_])?p_(?:value|adjusted)(?:/.*)?")
_AT_LEAST = (WORTH_REACHED, ONE_RANKING)  # 1 only if it holds for every replicate


@dataclass(frozen=True)
class Replicates:
    """Mean of some values with its 95 % t interval, and the smallest and the largest value."""

    mean: float
    low: float
    high: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Replicates:
        """Summarise at least two values.

        The interval is ``mean ± t s / sqrt(n)``, with the quantile of Student's t distribution with
        n - 1 degrees of freedom and the standard deviation s. It assumes that the values are
        independent draws of a normal distribution.

        Raises:
            ValueError: If there are fewer than 2 values.
        """
        from scipy.stats import t

        if (n := len(values)) < 2:
            raise ValueError(f"an interval over replicates needs at least 2 values, got {n}")
        mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
        margin = float(t.ppf((1 + LEVEL) / 2, n - 1)) * deviation / math.sqrt(n)
        return cls(mean, mean - margin, mean + margin, min(values), max(values))

    def metrics(self, name: str) -> dict[str, float]:
        """The mean as a metric; if the values differ, with its interval and the extremes."""
        if self.least == self.most:
            return {name: self.least}
        ends = {low(name): self.low, high(name): self.high}
        return {name: self.mean, **ends, least(name): self.least, most(name): self.most}


def merged_p_value(p_values: Sequence[float]) -> float:
    """One p-value from those of replicates, valid however they depend on each other.

    ``n/k p_(k)``, at most 1, with p_(k) the k-th smallest of n p-values (Rüger 1978) and k the
    smallest majority: it is significant only if the p-values of more than half of the replicates
    are small. A single p-value stays as it is.

    Raises:
        ValueError: If there are no p-values.
    """
    if not p_values:
        raise ValueError("a merged p-value needs at least 1 p-value, got 0")
    k = len(p_values) // 2 + 1
    return min(1.0, len(p_values) / k * sorted(p_values)[k - 1])


def replicate_metrics(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The metrics of replicates as those of a single run; metrics that some run lacks are missing.

    Metrics are means over the runs, with the interval of the mean instead of those of single runs.
    An answer of the verdict is the highest level that more than half of the runs reach; p-values
    are merged (``merged_p_value``). The standard deviation of control sets is that of the sets of
    all runs: the root of the mean variance within the runs plus the variance between them.

    Args:
        runs: The metrics of every run, at least two.
    """
    common = [name for name in runs[0] if all(name in own for own in runs)]
    result: dict[str, float] = {}
    for name in common:
        values = [own[name] for own in runs]
        of, _, end = name.rpartition("_")
        if end in ("low", "high") and of in common:
            continue
        if name in QUESTIONS:
            result[name] = sorted(values)[(len(values) - 1) // 2]
        elif _P_VALUE.fullmatch(name):
            result[name] = merged_p_value(values)
        elif name in _AT_LEAST:
            result[name] = min(values)
        elif end == "std" and of in common:
            between = np.var([own[of] for own in runs])
            result[name] = float(np.sqrt(np.mean(np.square(values)) + between))
        else:
            result |= Replicates.of(values).metrics(name)
    return result
