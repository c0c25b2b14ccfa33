"""The bootstrap over sentences agrees with a loop, scipy and simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from numpy import ndarray
from scipy import stats

from keyneurons.analysis.sentence_bootstrap import Difference, Estimate, SentenceBootstrap

SENTENCES = np.repeat(np.arange(40), np.random.default_rng(3).integers(1, 9, 40))


def test_sums_and_means_equal_those_of_the_drawn_words() -> None:
    boot = SentenceBootstrap.of(SENTENCES, 25, 0)
    values = np.random.default_rng(1).random((3, len(SENTENCES)))
    chosen = np.random.default_rng(2).random(len(SENTENCES)) < 0.3
    for b, weights in enumerate(boot.weights.astype(int)):
        words = np.concatenate([np.flatnonzero(s == SENTENCES) for s, n in enumerate(weights) for _ in range(n)])
        assert np.allclose(boot.sums(values)[b], values[:, words].sum(axis=1))
        assert np.allclose(boot.means(values)[b], values[:, words].mean(axis=1))
        some = words[chosen[words]]
        assert np.allclose(boot.means(values, chosen)[b], values[:, some].mean(axis=1) if len(some) else 0)


def test_every_resample_has_as_many_sentences_as_the_text() -> None:
    boot = SentenceBootstrap.of(SENTENCES, 100, 0)
    assert (boot.weights.sum(axis=1) == 40).all()


def test_sentence_numbers_need_not_be_consecutive_nor_sorted() -> None:
    values = np.arange(6.0)[None]
    one = SentenceBootstrap.of(np.array([0, 0, 1, 1, 2, 2]), 50, 0)
    other = SentenceBootstrap.of(np.array([3, 3, 7, 7, 90, 90]), 50, 0)
    assert np.array_equal(one.sums(values), other.sums(values))


def test_the_interval_of_single_word_sentences_agrees_with_scipy() -> None:
    values = np.random.default_rng(5).random(300)
    boot = SentenceBootstrap.of(np.arange(300), 4000, 0)
    own = Estimate.of(values.mean(), boot.means(values[None])[:, 0])
    other = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    assert own.low == pytest.approx(other.low, abs=0.002)
    assert own.high == pytest.approx(other.high, abs=0.002)


def coverage(by_sentence: bool) -> float:
    """Share of simulated texts whose interval covers the true mean; words of a sentence depend."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        sentence = np.repeat(np.arange(60), 8)
        right = (rng.random(480) < (0.5 + 0.3 * np.repeat(rng.choice([-1, 1], 60), 8))).astype(float)
        boot = SentenceBootstrap.of(sentence if by_sentence else np.arange(480), 200, 0)
        estimate = Estimate.of(right.mean(), boot.means(right[None])[:, 0])
        hits += estimate.low <= 0.5 <= estimate.high
    return hits / 200


def test_intervals_over_sentences_cover_and_those_over_words_do_not() -> None:
    assert coverage(by_sentence=True) >= 0.9
    assert coverage(by_sentence=False) < 0.8


def test_the_p_value_counts_resamples_without_a_difference() -> None:
    assert Difference.tested(0.2, np.array([0.1] * 7 + [0.0, -0.1])).p_value == 2 * 3 / 10
    assert Difference.tested(0.2, np.array([0.1, 0.0, -0.1])).p_value == 1
    assert Difference.tested(0.2, np.full(19, 0.1), least_p=0.4).p_value == 0.4


def test_a_set_is_drawn_anew_for_every_resample_and_stream() -> None:
    boot = SentenceBootstrap.of(SENTENCES, 3000, 0)
    first: ndarray = boot.draw(7)
    assert np.array_equal(first, boot.draw(7))
    assert not np.array_equal(first, boot.draw(7, stream=1))
    assert stats.chisquare(np.bincount(first, minlength=7)).pvalue > 0.001
    values = np.random.default_rng(0).random((3000, 7))
    assert np.array_equal(boot.one_of(values), values[np.arange(3000), first])


@pytest.mark.parametrize(("words", "resamples"), [(0, 10), (5, 0)])
def test_an_empty_bootstrap_is_refused(words: int, resamples: int) -> None:
    with pytest.raises(ValueError, match=f"got {words} and {resamples}"):
        SentenceBootstrap.of(np.arange(words), resamples, 0)
