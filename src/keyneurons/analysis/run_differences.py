"""Differences of accuracy and F1 between two runs, by a bootstrap over the test sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray

from keyneurons.analysis.multiple_tests import adjusted_p_values
from keyneurons.analysis.sentence_bootstrap import Estimate, sentence_weights

RESAMPLES = 2000


@dataclass(frozen=True)
class Predictions:
    """The tags that a probe predicts for test words, with their true tags.

    ``true`` and ``predicted`` are indices into ``tags``. ``word`` is the position of each word
    among all words of the test split, ``sentence`` that of its sentence; ``text`` is the digest of
    the test sentences.
    """

    tags: tuple[str, ...]
    word: Int[ndarray, " words"]
    sentence: Int[ndarray, " words"]
    true: Int[ndarray, " words"]
    predicted: Int[ndarray, " words"]
    text: str


@dataclass(frozen=True)
class Contrast:
    """A statistic of two runs, and the difference (second minus first) with its 95 % interval.

    ``p_value`` is two-sided; ``p_adjusted`` is corrected over the tags, None where nothing is.
    """

    first: float
    second: float
    difference: Estimate
    p_value: float
    p_adjusted: float | None = None


@dataclass(frozen=True)
class RunDifferences:
    """Differences of the accuracy and of the F1 of every common tag.

    ``paired`` says whether both runs were tested on the same sentences, which are then resampled
    together; ``same_words`` whether on the same words of them.
    """

    paired: bool
    same_words: bool
    accuracy: Contrast
    f1: Mapping[str, Contrast]


def run_differences(first: Predictions, second: Predictions, *, resamples: int = RESAMPLES) -> RunDifferences:
    """Compare the predictions of two runs.

    Sentences are drawn with replacement (the cluster bootstrap), since words of one sentence are
    not independent. Runs on the same sentences share every resample, so that their differences are
    paired; the samples of runs on different sentences are independent. Intervals are percentiles;
    p-values are ``2 (1 + n) / (1 + resamples)``, at most 1, with n the smaller of the numbers of
    resamples with a difference <= 0 and with one >= 0. Those of the F1 are adjusted over the tags
    by Benjamini-Hochberg. They cover the choice of the test sentences, not the training.

    Args:
        first: Predictions of the first run.
        second: Predictions of the second run.
        resamples: Number of resamples.
    """
    paired = first.text == second.text
    common = tuple(tag for tag in first.tags if tag in second.tags)
    n_sentences = [1 + int(own.sentence.max()) for own in (first, second)]
    sizes = [max(n_sentences)] * 2 if paired else n_sentences
    counts = [_counts(own, common, size) for own, size in zip((first, second), sizes, strict=True)]
    weights = [sentence_weights(size, resamples, 0 if paired else seed) for seed, size in enumerate(sizes)]
    observed = [_statistics(own.sum(axis=0, keepdims=True))[0] for own in counts]
    resampled = [_statistics(drawn @ own) for drawn, own in zip(weights, counts, strict=True)]
    differences = resampled[1] - resampled[0]
    contrasts = [_contrast(a, b, drawn) for a, b, drawn in zip(*observed, differences.T, strict=True)]
    f1 = dict(zip(common, contrasts[1:], strict=True))
    adjusted = adjusted_p_values({tag: contrast.p_value for tag, contrast in f1.items()})
    return RunDifferences(
        paired,
        paired and np.array_equal(first.word, second.word),
        contrasts[0],
        {tag: replace(contrast, p_adjusted=adjusted[tag]) for tag, contrast in f1.items()},
    )


def f1(
    hits: Num[ndarray, "*rows"], positives: Num[ndarray, "*rows"], true: Num[ndarray, "*_rows"]
) -> Float[ndarray, "*rows"]:
    """F1 of a class from its numbers of hits, predictions and words; 0 without the latter two."""
    values: ndarray = 2 * hits / np.maximum(positives + true, 1)
    return values


def _counts(own: Predictions, tags: tuple[str, ...], n_sentences: int) -> Float[ndarray, "sentences counts"]:
    """Numbers of words and of correct ones by sentence; of hits, predictions and words by tag."""
    at = [own.tags.index(tag) for tag in tags]
    predicted, true = ([values == tag for tag in at] for values in (own.predicted, own.true))
    hits = [guess & actual for guess, actual in zip(predicted, true, strict=True)]
    rows = [np.ones(len(own.true)), own.predicted == own.true, *hits, *predicted, *true]
    return np.stack([np.bincount(own.sentence, weights=row, minlength=n_sentences) for row in rows], axis=1)


def _statistics(counts: Float[ndarray, "draws counts"]) -> Float[ndarray, "draws statistics"]:
    """The accuracy and the F1 of every tag, from sums of counts over sentences."""
    words, correct = counts[:, :1], counts[:, 1:2]
    return np.concatenate([correct / np.maximum(words, 1), f1(*np.split(counts[:, 2:], 3, axis=1))], axis=1)


def _contrast(first: float, second: float, drawn: Float[ndarray, " resamples"]) -> Contrast:
    fewest = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2 * (1 + fewest) / (1 + len(drawn)))
    return Contrast(float(first), float(second), Estimate.of(second - first, drawn), p_value)
