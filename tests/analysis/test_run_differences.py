"""Differences of two runs against scikit-learn and scipy, and the error rate of their p-values."""

from __future__ import annotations

import numpy as np
import pytest
from numpy import ndarray
from scipy.stats import bootstrap, false_discovery_control
from sklearn.metrics import accuracy_score, f1_score

from keyneurons.analysis.run_differences import Predictions, run_differences

TAGS = ("ADJ", "NOUN", "VERB")


def predictions(
    accuracy: float | ndarray, seed: int, n_sentences: int = 80, text: str = "t", tags: tuple[str, ...] = TAGS
) -> Predictions:
    """Predictions whose errors cluster by sentence; words and tags are always the same."""
    true = np.random.default_rng(0).choice(len(tags), n_sentences * 6, p=[0.1, 0.5, 0.4][: len(tags)])
    draw, sentence = np.random.default_rng(seed), np.repeat(np.arange(n_sentences), 6)
    by_sentence = np.clip(accuracy + draw.normal(0, 0.15, n_sentences), 0, 1)[sentence]
    guess = np.where(draw.random(len(true)) < by_sentence, true, draw.choice(len(tags), len(true)))
    return Predictions(tags, np.arange(len(true)), sentence, true, guess, text)


def test_statistics_are_those_of_scikit_learn() -> None:
    first, second = predictions(0.8, 1), predictions(0.6, 2)
    found = run_differences(first, second, resamples=50)
    for own, name in ((first, "first"), (second, "second")):
        assert getattr(found.accuracy, name) == pytest.approx(accuracy_score(own.true, own.predicted))
        f1 = f1_score(own.true, own.predicted, average=None)
        assert [getattr(found.f1[tag], name) for tag in TAGS] == pytest.approx(f1)
    assert found.accuracy.difference.value == pytest.approx(found.accuracy.second - found.accuracy.first)
    assert (found.paired, found.same_words) == (True, True)


def test_paired_intervals_are_those_of_scipy() -> None:
    first, second = predictions(0.8, 1), predictions(0.75, 2)
    words = first.true.reshape(80, 6)
    guesses = [own.predicted.reshape(80, 6) for own in (first, second)]

    def difference(sentences: ndarray, statistic: str) -> float:
        true, a, b = (each[sentences].ravel() for each in (words, *guesses))
        if statistic == "accuracy":
            return float((b == true).mean() - (a == true).mean())
        at = TAGS.index(statistic)
        first, second = (
            2 * ((own == at) & (true == at)).sum() / ((own == at).sum() + (true == at).sum()) for own in (a, b)
        )
        return float(second - first)

    found = run_differences(first, second, resamples=4000)
    for statistic, contrast in {"accuracy": found.accuracy, "NOUN": found.f1["NOUN"]}.items():
        theirs = bootstrap(
            (np.arange(80),),
            lambda drawn, statistic=statistic: difference(drawn, statistic),
            vectorized=False,
            method="percentile",
            n_resamples=2000,
            rng=np.random.default_rng(3),
        ).confidence_interval
        ends = contrast.difference.low, contrast.difference.high
        assert ends == pytest.approx((theirs.low, theirs.high), abs=0.006)


def test_p_values_of_tags_are_adjusted() -> None:
    found = run_differences(predictions(0.8, 1), predictions(0.72, 2)).f1
    expected = false_discovery_control([found[tag].p_value for tag in TAGS])
    assert [found[tag].p_adjusted for tag in TAGS] == pytest.approx(expected)


@pytest.mark.parametrize("text", ["t", "u"], ids=["paired", "unpaired"])
def test_equal_runs_rarely_differ_and_unequal_ones_mostly_do(text: str) -> None:
    def rejected(gain: float) -> float:
        p_values = [
            run_differences(predictions(0.7, 2 * i), predictions(0.7 + gain, 2 * i + 1, text=text), resamples=300)
            for i in range(120)
        ]
        return float(np.mean([each.accuracy.p_value <= 0.05 for each in p_values]))

    assert rejected(0.0) <= 0.09  # .05 and two standard errors; .033 in 600 draws
    assert rejected(0.18) > 0.9


def test_pairing_narrows_the_interval_of_runs_that_err_on_the_same_words() -> None:
    first = predictions(0.7, 1)
    changed = first.predicted.copy()
    changed[::20] = first.true[::20]
    second = Predictions(TAGS, first.word, first.sentence, first.true, changed, "t")
    apart = Predictions(TAGS, first.word, first.sentence, first.true, changed, "u")
    paired, unpaired = run_differences(first, second), run_differences(first, apart)
    width = [each.accuracy.difference.high - each.accuracy.difference.low for each in (paired, unpaired)]
    assert width[0] < width[1] / 2
    assert (unpaired.paired, unpaired.same_words) == (False, False)
    assert paired.accuracy.p_value < 0.05 < unpaired.accuracy.p_value


def test_the_same_predictions_do_not_differ() -> None:
    own = predictions(0.7, 1)
    found = run_differences(own, own)
    assert (found.accuracy.difference.value, found.accuracy.p_value) == (0, 1)


def test_only_common_tags_and_other_words_of_the_same_sentences() -> None:
    whole = predictions(0.7, 1)
    kept = whole.true != TAGS.index("ADJ")
    part = Predictions(
        ("NOUN", "VERB"),
        whole.word[kept],
        whole.sentence[kept],
        whole.true[kept] - 1,
        np.maximum(whole.predicted[kept] - 1, 0),
        "t",
    )
    found = run_differences(whole, part)
    assert list(found.f1) == ["NOUN", "VERB"]
    assert (found.paired, found.same_words) == (True, False)
    assert found.accuracy.second == pytest.approx((part.true == part.predicted).mean())
