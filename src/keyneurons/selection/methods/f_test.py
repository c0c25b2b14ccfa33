"""Analysis of variance of a neuron between a tag and the rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.selection.moment_scorer import SignificantMomentScorer
from keyneurons.selection.moments import Moments
from keyneurons.selection.scorer import ColumnError
from keyneurons.selection.significance import student_p_values

ROUNDING = 1e-6  # relative variance that float32 rounding leaves within two groups of constant values


@dataclass(frozen=True)
class FTest(SignificantMomentScorer):
    """One-way F of a tag against the rest: variance between over variance within, never negative.

    ``F = n_t n_rest / N (mean_t - mean_rest)^2 / ((ss_t + ss_rest) / (N - 2))``, the square of
    Student's t with pooled variance (Fisher 1925). Ignores the sign of the difference; invariant to
    shift and scale and independent of other neurons. With two groups it ranks neurons as the
    absolute correlation does. A constant neuron scores 0.
    """

    def of_moments(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """F of every neuron and tag.

        Raises:
            ColumnError: If F is infinite.
        """
        between, within = separation(moments)
        return (between / (within / (moments.n_words - 2))).masked_fill(moments.constant, 0.0)

    def test_moments(self, moments: Moments) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
        """F-test with 1 and N-2 degrees of freedom; assumes independent words.

        Returns:
            The scores and their p-values.
        """
        between, within = separation(moments)
        unexplained = (within / (within + between)).masked_fill(moments.constant, 1.0)
        return self.of_moments(moments), student_p_values(unexplained, moments.n_words - 2)


def separation(moments: Moments) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
    """Sums of squares between a tag and the rest, and within the two; requires a finite ratio.

    Raises:
        ColumnError: If a neuron that is not constant has no variance within.
    """
    between, within = between_and_within(moments)
    infinite = (within <= ROUNDING * between) & ~moments.constant
    if infinite.any():
        tag, column = infinite.T.nonzero()[0].flip(0).tolist()
        raise ColumnError(column, f"does not vary within tag {tag} nor within the rest: its score is infinite")
    return between, within


def between_and_within(moments: Moments) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
    """Sums of squares between a tag and the rest, and within the two.

    Raises:
        ValueError: If there are fewer than 3 words.
    """
    if (n_words := moments.n_words) < 3:
        raise ValueError(f"variance within two groups needs at least 3 words, got {n_words}")
    between = moments.of_tag * moments.of_rest / n_words * moments.difference().square()
    return between, torch.stack(moments.squares_within()).sum(dim=0)
