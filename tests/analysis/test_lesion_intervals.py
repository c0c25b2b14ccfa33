"""Effects of lesions beyond control sets, with intervals over sentences and sets."""

from __future__ import annotations

import numpy as np
import pytest

from keyneurons.analysis.lesion_intervals import beyond_controls

TRUE = np.array([[0.5, 0.2, 0.1], [0.0, 0.3, 0.0], [-0.1, 0.1, 0.0]])
"""Effects of lesions on the words of each tag, beyond all possible control sets."""


def changes_of(n_sets: int, seed: int, between_sets: float, between_sentences: float) -> tuple[np.ndarray, ...]:
    """Changes of words of 3 tags: effects of the lesion, of the control set, of the sentence."""
    rng = np.random.default_rng(seed)
    sentences = np.repeat(np.arange(50), rng.integers(3, 9, 50))
    tags = rng.permutation(np.arange(len(sentences)) % 3)
    of_sets = between_sets * rng.normal(size=(n_sets, 3, 3))
    noise = rng.normal(size=(1 + n_sets, 3, 50))[:, :, sentences] + rng.normal(size=(1 + n_sets, 3, len(sentences)))
    every = between_sentences * noise
    every[0] += TRUE[:, tags]
    every[1:] += of_sets[:, :, tags]
    return every[0], every[1:], tags, sentences


def test_values_are_plain_differences_of_means() -> None:
    changes, controls, tags, sentences = changes_of(4, 0, 0.1, 0.2)
    found = beyond_controls(changes, controls, tags, sentences, draws=20, seed=0)
    for i, beyond in enumerate(found):
        mean = [
            changes[i, tags == j].mean() - np.mean([each[i, tags == j].mean() for each in controls]) for j in range(3)
        ]
        others = np.mean(np.delete(mean, i))
        assert beyond.own.value == pytest.approx(mean[i])
        assert beyond.others.value == pytest.approx(others)
        assert beyond.difference.value == pytest.approx(mean[i] - others)


def test_equal_sets_leave_the_bootstrap_of_sentences() -> None:
    """Without differences between sets, the interval is that of a Bayesian bootstrap."""
    changes, _, tags, sentences = changes_of(4, 1, 0.0, 0.2)
    controls = np.zeros((4, *changes.shape))
    found = beyond_controls(changes, controls, tags, sentences, draws=200, seed=5)
    weights = np.random.default_rng(5).dirichlet(np.ones(50), 200)[:, sentences]
    own = [np.average(changes[0, tags == 0], weights=weight[tags == 0]) for weight in weights]
    assert (found[0].own.low, found[0].own.high) == pytest.approx(tuple(np.quantile(own, [0.025, 0.975])))


def test_equal_sentences_leave_the_t_interval_of_the_sets() -> None:
    """If words of a tag change alike, the interval is that of a mean of few sets (Student's t)."""
    from scipy.stats import t

    changes, controls, tags, sentences = changes_of(5, 2, 0.3, 0.0)
    found = beyond_controls(changes, controls, tags, sentences, draws=100_000, seed=0)
    for i, beyond in enumerate(found):
        of_sets = controls[:, i, np.flatnonzero(tags == i)[0]]
        low, high = t.interval(0.95, 4, TRUE[i, i] - of_sets.mean(), of_sets.std(ddof=1) / np.sqrt(5))
        assert (beyond.own.low, beyond.own.high) == pytest.approx((low, high), abs=0.02 * (high - low))


@pytest.mark.slow
@pytest.mark.parametrize("between_sets", [0.0, 0.05, 0.5], ids=["sentences", "both", "sets"])
@pytest.mark.parametrize("n_sets", [2, 5, 20])
def test_intervals_cover_the_effects(n_sets: int, between_sets: float) -> None:
    """At least 95 % in expectation; fewer than 89 % of 200 happen once in a thousand repeats."""
    covered = dict.fromkeys(("own", "others", "difference"), 0)
    expected = {"own": 0.5, "others": 0.15, "difference": 0.35}
    for seed in range(200):
        found = beyond_controls(*changes_of(n_sets, seed, between_sets, 0.5), draws=400, seed=seed)[0]
        for name, value in expected.items():
            estimate = getattr(found, name)
            covered[name] += estimate.low < value < estimate.high
    assert min(covered.values()) >= 178


def test_an_interval_needs_two_sets_and_finite_changes() -> None:
    changes, controls, tags, sentences = changes_of(4, 0, 0.1, 0.2)
    with pytest.raises(ValueError, match="an interval needs at least 2 control sets, got 1"):
        beyond_controls(changes, controls[:1], tags, sentences, draws=9, seed=0)
    with pytest.raises(ValueError, match="changes must be finite"):
        beyond_controls(np.full_like(changes, np.nan), controls, tags, sentences, draws=9, seed=0)
