"""Welch's t of a neuron between a tag and the rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.selection.methods.f_test import ROUNDING
from keyneurons.selection.moment_scorer import SignificantMomentScorer
from keyneurons.selection.moments import Moments
from keyneurons.selection.scorer import ColumnError, TagError
from keyneurons.selection.significance import student_p_values
from keyneurons.selection.views import MAGNITUDE, VALUE, View


@dataclass(frozen=True)
class WelchT(SignificantMomentScorer):
    """Welch's t of a neuron between the words of a tag and all others, signed.

    ``t = (mean_t - mean_rest) / sqrt(var_t / n_t + var_rest / n_rest)`` (Welch 1947): Student's t
    without equal variances. With ``magnitude`` it uses absolute activations, as the localizer of
    language units of AlKhamissi et al. 2024 (arXiv:2411.02280), and ignores sign changes. Invariant
    to shift and scale and independent of other neurons; grows with the number of words. A constant
    neuron scores 0.
    """

    magnitude: bool = False

    @property
    def view(self) -> View:
        """The activations or their magnitudes."""
        return MAGNITUDE if self.magnitude else VALUE

    def of_moments(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """Welch's t of every neuron and tag.

        Raises:
            ColumnError: If a t is infinite.
            TagError: If a tag has one word, or all but one.
        """
        of_tag, of_rest = _errors(moments)
        return (moments.difference() / (of_tag + of_rest).sqrt()).masked_fill(moments.constant, 0.0)

    def test_moments(self, moments: Moments) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
        """Two-sided test with Welch-Satterthwaite degrees of freedom; assumes independent words.

        Returns:
            The scores and their p-values.
        """
        scores = self.of_moments(moments)
        of_tag, of_rest = _errors(moments)
        spread = of_tag.square() / (moments.of_tag - 1) + of_rest.square() / (moments.of_rest - 1)
        degrees = ((of_tag + of_rest).square() / spread).masked_fill(moments.constant, 1.0)
        return scores, student_p_values(degrees / (degrees + scores.square()), degrees)


def _errors(moments: Moments) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
    """Squared standard errors of the mean over a tag and of the mean over the rest.

    Raises:
        ColumnError: If both are 0 and the means differ.
        TagError: If one class has a single word.
    """
    for tag, count in enumerate(moments.counts.tolist()):
        if not 2 <= count <= moments.n_words - 2:
            raise TagError(
                tag, f"needs at least 2 words with it and 2 without for a variance, got {count} of {moments.n_words}"
            )
    inside, outside = moments.squares_within()
    infinite = (inside + outside <= ROUNDING * moments.difference().square()) & ~moments.constant
    if infinite.any():
        tag, column = torch.nonzero(infinite.T)[0].flip(0).tolist()
        raise ColumnError(column, f"does not vary within tag {tag} nor within the rest: its score is infinite")
    return inside / (moments.of_tag - 1) / moments.of_tag, outside / (moments.of_rest - 1) / moments.of_rest
