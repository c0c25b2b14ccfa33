"""Bootstrap over sentences: joint intervals and tests of differences between predictors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray

from keyneurons import metrics

LEVEL = 0.95  # confidence level of all intervals

Statistic = Callable[[Float[ndarray, "resamples ..."]], Float[ndarray, " resamples"]]


def sentence_weights(n: int, resamples: int, seed: int) -> Float[ndarray, "resamples sentences"]:
    """How often each of n sentences is drawn in every resample of n sentences."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    weights: ndarray = drawn.astype(np.float64)
    return weights


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its 95 % percentile interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, resampled: Float[ndarray, " resamples"]) -> Estimate:
        """Take the interval from the values in the resamples."""
        low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return cls(float(value), float(low), float(high))

    def metrics(self, name: str) -> dict[str, float]:
        """A metric with the ends of its interval."""
        return {name: self.value, metrics.low(name): self.low, metrics.high(name): self.high}


@dataclass(frozen=True)
class Difference(Estimate):
    """A difference with its interval and the p-value of the test that it is above 0.

    ``p_value`` is ``2 (1 + # resamples with a difference <= 0) / (1 + resamples)``, at most 1:
    two-sided, as the interval is. ``z`` is the difference in standard deviations of the draws of a
    control; None for a single draw.
    """

    p_value: float
    z: float | None = None

    @classmethod
    def tested(
        cls, value: float, resampled: Float[ndarray, " resamples"], least_p: float = 0.0, z: float | None = None
    ) -> Difference:
        """Test the values in the resamples; ``least_p`` is a lower bound of the p-value."""
        estimate = Estimate.of(value, resampled)
        p_value = min(1.0, 2 * (1 + int((resampled <= 0).sum())) / (1 + len(resampled)))
        return cls(estimate.value, estimate.low, estimate.high, max(p_value, least_p), z)


@dataclass(frozen=True)
class SentenceBootstrap:
    """Resamples of the test sentences with replacement, the same for every predictor.

    The words of a sentence stay together, since they are not independent (the cluster bootstrap;
    Field & Welsh 2007, JRSS B 69:369). Every statistic of the same bootstrap is computed on the
    same resamples, so differences are paired. ``weights`` says how often each sentence is drawn.
    """

    sentence: Int[ndarray, " words"]
    weights: Float[ndarray, "resamples sentences"]
    seed: int

    @classmethod
    def of(cls, sentence_of_word: Int[ndarray, " words"], resamples: int, seed: int) -> SentenceBootstrap:
        """Draw the resamples.

        Raises:
            ValueError: There are no words or no resamples.
        """
        if not len(sentence_of_word) or resamples < 1:
            raise ValueError(
                f"a bootstrap needs at least 1 word and 1 resample, got {len(sentence_of_word)} and {resamples}"
            )
        _, sentence = np.unique(sentence_of_word, return_inverse=True)
        n = int(sentence.max()) + 1
        return cls(sentence, sentence_weights(n, resamples, seed), seed)

    @property
    def resamples(self) -> int:
        """Number of resamples."""
        return len(self.weights)

    def sums(self, values: Shaped[ndarray, "rows words"]) -> Float[ndarray, "resamples rows"]:
        """Sums of each row over the words of every resample."""
        n_sentences = self.weights.shape[1]
        by_sentence = [np.bincount(self.sentence, weights=row, minlength=n_sentences) for row in values]
        sums: ndarray = self.weights @ np.stack(by_sentence, axis=1)
        return sums

    def means(
        self, values: Shaped[ndarray, "rows words"], chosen: Bool[ndarray, " words"] | None = None
    ) -> Float[ndarray, "resamples rows"]:
        """Means of each row over the words (or the chosen words) of every resample.

        A resample without any chosen word has mean 0.
        """
        chosen = np.ones(len(self.sentence), dtype=bool) if chosen is None else chosen
        counts = self.sums(chosen[None])
        means: ndarray = self.sums(values * chosen) / np.maximum(counts, 1)
        return means

    def draw(self, n: int, stream: int = 0) -> Int[ndarray, " resamples"]:
        """One of n sets for every resample; streams are independent of one another."""
        return np.random.default_rng([self.seed, 1 + stream]).integers(n, size=self.resamples)

    def one_of(self, values: Float[ndarray, "resamples sets"], stream: int = 0) -> Float[ndarray, " resamples"]:
        """The values of one randomly drawn set per resample."""
        chosen: ndarray = values[np.arange(len(values)), self.draw(values.shape[1], stream)]
        return chosen
