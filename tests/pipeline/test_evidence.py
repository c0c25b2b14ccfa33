"""Differences between key neurons and controls: hand counts, exchangeable sets, specificity."""

from __future__ import annotations

import numpy as np
import pytest
from predicting import WORDS, control, evidence, right


def test_the_difference_is_that_of_the_accuracies() -> None:
    key, others = right(0.9, 1, 0)[0], right(0.6, 30, 1)
    own = evidence(key, {"random": control("random", others)})
    difference = own.differences["random"]
    assert difference.value == pytest.approx(key.mean() - others.mean())
    assert difference.z == pytest.approx(difference.value / others.mean(axis=1).std(ddof=1))
    assert difference.p_value == pytest.approx(1 / 31)
    assert difference.low < difference.value < difference.high
    on_some = own.difference(own.controls["random"], own.unseen)
    assert on_some is not None
    assert on_some.value == pytest.approx(key[own.unseen].mean() - others[:, own.unseen].mean())


def test_the_interval_covers_sentences_and_sets() -> None:
    """Independent words and sets: the variance of the difference is the sum of all parts."""
    key = right(0.8, 1, 0)[0]
    shift = np.random.default_rng(5).normal(0, 0.08, 200)
    sets = np.random.default_rng(1).random((200, WORDS)) < 0.6 + shift[:, None]
    difference = evidence(key, {"random": control("random", sets)}, resamples=4000).differences["random"]
    parts = sets.mean(axis=1).var() + key.var() / WORDS + 0.6 * 0.4 / WORDS
    assert (difference.high - difference.low) / (2 * 1.96) == pytest.approx(np.sqrt(parts), rel=0.12)


def test_key_neurons_that_are_one_more_random_set_are_rarely_better() -> None:
    rng, better = np.random.default_rng(7), 0
    for seed in range(200):
        quality = rng.normal(0.6, 0.05, 40)
        sets = rng.random((40, WORDS)) < quality[:, None]
        own = evidence(sets[0], {"random": control("random", sets[1:])}, resamples=100 + seed % 2)
        better += own.differences["random"].p_value <= 0.05
    assert better / 200 <= 0.06


def test_the_same_predictions_do_not_differ() -> None:
    key = right(0.8, 1, 0)[0]
    difference = evidence(key, {"form": control("form", key[None])}).differences["form"]
    assert (difference.value, difference.low, difference.high, difference.p_value) == (0, 0, 0, 1)


def test_specificity_is_the_difference_of_two_advantages() -> None:
    key, random = right(0.9, 1, 0)[0], right(0.7, 20, 1)
    own, sets = right(0.6, 3, 2), right(0.5, 12, 3).reshape(3, 4, WORDS)
    controls = {"random": control("random", random), "labels": control("labels", own, sets)}
    difference = evidence(key, controls).differences["labels"]
    advantages = key.mean() - random.mean(), own.mean() - sets.mean()
    assert difference.value == pytest.approx(advantages[0] - advantages[1])
    assert difference.low < difference.value < difference.high


def test_specificity_needs_random_sets() -> None:
    own = control("labels", right(0.6, 3, 2), right(0.5, 12, 3).reshape(3, 4, WORDS))
    assert evidence(right(0.9, 1, 0)[0], {"labels": own}).differences == {}


def test_no_unseen_words_no_difference() -> None:
    own = evidence(right(0.9, 1, 0)[0], {"form": control("form", right(0.5, 1, 1))}, np.zeros(WORDS, dtype=bool))
    assert own.difference(own.controls["form"], own.unseen) is None


def test_metrics_have_intervals() -> None:
    controls = {
        "random": control("random", right(0.6, 30, 1), contrast="probe/advantage"),
        "form": control("form", right(0.7, 1, 2)),
    }
    metrics = evidence(right(0.9, 1, 0)[0], controls).metrics()
    for name in ("probe/test_accuracy", "probe/advantage", "control/form/difference"):
        assert metrics[f"{name}_low"] < metrics[name] < metrics[f"{name}_high"]
    assert {"control/random/z", "control/random/p_value", "control/form/p_value"} <= set(metrics)
    assert "control/form/z" not in metrics
