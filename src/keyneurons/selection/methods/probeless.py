"""Distances between the means of the tags."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.selection.moment_scorer import MomentScorer
from keyneurons.selection.moments import Moments


@dataclass(frozen=True)
class Probeless(MomentScorer):
    """Sum over all other tags of the distance between a neuron's mean on this tag and on that one, never negative.

    ``sum over c of |mean_t - mean_c|`` (Antverg & Belinkov 2022, arXiv:2110.07483). Half its sum over the tags is
    their overall ranking. It ignores shift, variance within a tag, frequency and the direction of a difference, and
    not scale: coordinates of high variance win, unless ``standardised`` divides each neuron by its standard deviation
    over all words. A constant neuron scores 0.
    """

    standardised: bool = False

    def of_moments(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """Summed distances of every tag's mean to all others."""
        means = moments.sums / moments.of_tag
        scores = torch.stack([(means - mean).abs().sum(dim=0) for mean in means])
        if self.standardised:
            scores = scores / (moments.total_squares() / moments.n_words).sqrt()
        return scores.masked_fill(moments.constant, 0.0)
