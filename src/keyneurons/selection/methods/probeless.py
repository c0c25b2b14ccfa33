"""Distances between the mean activations of the tags."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.selection.moment_scorer import MomentScorer
from keyneurons.selection.moments import Moments


@dataclass(frozen=True)
class Probeless(MomentScorer):
    """Sum over the other tags of the distance between a neuron's means on the two tags, at least 0.

    ``sum over c of |mean_t - mean_c|`` (Antverg & Belinkov 2022, arXiv:2110.07483); half the sum of
    the scores over the tags is their overall ranking. Invariant to shift and independent of the
    variance within tags, frequency and the sign of differences, but not of scale: neurons of high
    variance are favoured unless ``standardised`` divides by the standard deviation over all words.
    A constant neuron scores 0.
    """

    standardised: bool = False

    def of_moments(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """Summed distances of every tag's mean to all others."""
        means = moments.sums / moments.of_tag
        scores = torch.stack([(means - mean).abs().sum(dim=0) for mean in means])
        if self.standardised:
            scores = scores / (moments.total_squares() / moments.n_words).sqrt()
        return scores.masked_fill(moments.constant, 0.0)
