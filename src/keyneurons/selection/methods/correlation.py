"""Pearson correlation of a neuron with a tag."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from keyneurons.selection.moment_scorer import SignificantMomentScorer
from keyneurons.selection.moments import Moments
from keyneurons.selection.significance import student_p_values


@dataclass(frozen=True)
class Correlation(SignificantMomentScorer):
    """Pearson correlation r of a neuron with a tag's 0/1 indicator (point-biserial), signed.

    ``r = (mean_t - mean_rest) sqrt(n_t n_rest / N / sum((x - mean)^2))`` (Tate 1954, Ann. Math.
    Stat. 25:603). Invariant to shift and scale of a neuron and independent of other neurons.
    Ignores non-linear relations: a tag in the middle of a neuron's range scores 0. Depends on
    frequency: a rare tag cannot reach a high r if the distributions overlap much. A constant neuron
    scores 0.
    """

    def of_moments(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """Correlation of every neuron with every tag, in -1..1."""
        weight = moments.of_tag * moments.of_rest / moments.n_words
        scores = moments.difference() * (weight / moments.total_squares()).sqrt()
        return scores.clamp(-1, 1).masked_fill(moments.constant, 0.0)  # rounding can exceed 1

    def test_moments(self, moments: Moments) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
        """Two-sided test for correlation.

        If activations are normal and independent of the tag, ``r sqrt((N-2) / (1-r^2))`` follows
        Student's t with N-2 degrees of freedom. The test assumes independent words, which running
        text violates.

        Returns:
            The scores and their p-values.

        Raises:
            ValueError: If there are fewer than 3 words.
        """
        if (n_words := moments.n_words) < 3:
            raise ValueError(f"a p-value of a correlation needs at least 3 words, got {n_words}")
        scores = self.of_moments(moments)
        return scores, student_p_values(1 - scores.square(), n_words - 2)
