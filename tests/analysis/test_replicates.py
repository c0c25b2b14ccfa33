"""Means and intervals over seeds against scipy; merged p-values against their error rate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp

from keyneurons.analysis.replicates import Replicates, merged_p_value, replicate_metrics


def test_the_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.05, 5).tolist()
    found = Replicates.of(values)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.mean, found.least, found.most) == pytest.approx((np.mean(values), min(values), max(values)))


def test_the_interval_covers_the_true_mean_at_its_rate() -> None:
    draw = np.random.default_rng(1)
    found = [Replicates.of(draw.normal(0.7, 0.1, 3).tolist()) for _ in range(2000)]
    assert np.mean([each.low <= 0.7 <= each.high for each in found]) == pytest.approx(0.95, abs=0.015)


def test_one_value_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least 2 values, got 1"):
        Replicates.of([0.5])


@pytest.mark.parametrize(
    ("p_values", "merged"),
    [([0.03], 0.03), ([0.03, 0.01], 0.03), ([0.01, 0.5, 0.02], 0.03), ([0.9, 0.8, 0.7], 1.0)],
    ids=["one", "two", "three", "large"],
)
def test_merged_p_values_by_hand(p_values: list[float], merged: float) -> None:
    assert merged_p_value(p_values) == pytest.approx(merged)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_merged_p_values_hold_their_level_however_replicates_depend(n: int, correlation: float) -> None:
    draw = np.random.default_rng(n)
    shared = draw.normal(size=(4000, 1)) * np.sqrt(correlation)
    p_values = norm.sf(shared + draw.normal(size=(4000, n)) * np.sqrt(1 - correlation))
    merged = np.array([merged_p_value(own.tolist()) for own in p_values])
    assert (merged <= 0.05).mean() <= 0.055
    effect = norm.sf(norm.isf(p_values) + 4)  # and they find an effect
    assert np.mean([merged_p_value(own.tolist()) <= 0.05 for own in effect]) > 0.9


def test_there_is_nothing_to_merge() -> None:
    with pytest.raises(ValueError, match="at least 1 p-value, got 0"):
        merged_p_value([])


def test_metrics_of_replicates_by_kind() -> None:
    draws = np.random.default_rng(2).normal(0.4, 0.05, (3, 200))
    runs = [
        {
            "probe/test_accuracy": accuracy,
            "probe/test_accuracy_low": accuracy - 0.1,
            "probe/test_accuracy_high": accuracy + 0.1,
            "control/random/test_accuracy": float(own.mean()),
            "control/random/test_accuracy_std": float(own.std(ddof=1)),
            "control/random/p_value": p,
            "per_tag/p_adjusted/NOUN": p,
            "verdict/special": level,
            "verdict/special_p_value": p,
            "worth/neurons": 30.0,
            "worth/reached": float(level > 0),
            "selection/union_size": 12.0,
        }
        for accuracy, own, p, level in zip((0.8, 0.7, 0.9), draws, (0.01, 0.2, 0.02), (2.0, 0.0, 1.0), strict=True)
    ]
    runs[0]["only/here"] = 1.0
    found = replicate_metrics(runs)
    assert found["probe/test_accuracy"] == pytest.approx(0.8)
    half = 4.302652729911275 * 0.1 / np.sqrt(3)  # t with 2 degrees of freedom
    assert found["probe/test_accuracy_low"] == pytest.approx(0.8 - half)
    assert found["probe/test_accuracy_high"] == pytest.approx(0.8 + half)
    assert (found["probe/test_accuracy_min"], found["probe/test_accuracy_max"]) == (0.7, 0.9)
    assert found["control/random/test_accuracy_std"] == pytest.approx(draws.std(), rel=0.01)
    assert found["control/random/p_value"] == found["per_tag/p_adjusted/NOUN"] == pytest.approx(0.03)
    assert found["verdict/special"] == 1.0  # two of three reach it
    assert found["worth/reached"] == 0.0
    assert found["selection/union_size"] == 12.0
    assert not {"selection/union_size_low", "verdict/special_low", "only/here"} & set(found)
