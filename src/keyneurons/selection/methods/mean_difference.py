"""Difference between a neuron's mean on a tag and its mean on the other words."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from keyneurons.selection.methods.f_test import between_and_within, separation
from keyneurons.selection.moment_scorer import SignificantMomentScorer
from keyneurons.selection.moments import Moments
from keyneurons.selection.significance import student_p_values


@dataclass(frozen=True)
class MeanDifference(SignificantMomentScorer):
    """Mean on a tag minus mean on all other words, in pooled standard deviations; signed.

    ``d = (mean_t - mean_rest) / sqrt((ss_t + ss_rest) / (N - 2))`` (Cohen 1988). With
    ``standardised=False`` the raw difference (Gurnee et al. 2023, arXiv:2305.01610), which favours
    neurons of high variance whatever they mark. Independent of frequency and other neurons and
    invariant to shift and, if standardised, to scale. A constant neuron scores 0.
    """

    standardised: bool = True

    def of_moments(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """Difference of the means for every tag and neuron.

        Raises:
            ColumnError: If a standardised difference is infinite.
        """
        if not self.standardised:
            return moments.difference().masked_fill(moments.constant, 0.0)
        _, within = separation(moments)
        scores = moments.difference() / (within / (moments.n_words - 2)).sqrt()
        return scores.masked_fill(moments.constant, 0.0)

    def test_moments(self, moments: Moments) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
        """Two-sided Student's t-test with pooled variance; assumes independent words.

        Returns:
            The scores and their p-values.
        """
        scores = self.of_moments(moments)
        between, within = between_and_within(moments)
        unexplained = (within / (within + between)).masked_fill(moments.constant, 1.0)
        return scores, student_p_values(unexplained, moments.n_words - 2)
