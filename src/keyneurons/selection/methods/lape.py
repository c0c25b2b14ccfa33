"""Entropy of a neuron's activation over the tags."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.selection.moment_scorer import MomentScorer
from keyneurons.selection.moments import Moments
from keyneurons.selection.views import POSITIVE, View


@dataclass(frozen=True)
class LAPE(MomentScorer):
    """Specificity of a neuron over the tags: maximum minus actual entropy in nats, at least 0.

    With ``p_t = P(activation > 0 | t)`` the score is ``ln(tags) - H(p / sum p)`` for tags whose
    ``p_t`` exceeds the ``percentile`` of the probabilities of all tags and neurons in the input,
    else 0. This is language activation probability entropy (Tang et al. 2024, arXiv:2402.16438)
    with tags as languages, reversed so that the most specific neuron is strongest. The filter is
    needed because [.009, .001, 0] has the entropy of [.9, .1, 0]. The method is intended for the
    output of the activation function (site ``mlp_gate``). It ignores the magnitude of activations
    and a tag's frequency. A neuron that is never or always active scores 0.
    """

    percentile: float = 95.0

    def __post_init__(self) -> None:
        if not 0 < self.percentile < 100:
            raise ValueError(f"percentile must lie between 0 and 100, got {self.percentile}")

    @property
    def view(self) -> View:
        """1 where an activation is above 0."""
        return POSITIVE

    def of_moments(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """Maximum minus actual entropy of every neuron, for tags on which it is often active."""
        n_active = moments.pivot * moments.of_tag + moments.sums  # integers, so ties of the ratios are exact
        active = n_active / moments.of_tag
        lacking = math.log(len(active)) - entropy(active)
        often = active > active.flatten().kthvalue(max(1, round(active.numel() * self.percentile / 100))).values
        scores: Tensor = torch.where(often & ~moments.constant, lacking.clamp(min=0), 0.0)
        return scores


def entropy(active: Float[Tensor, "tags neurons"]) -> Float[Tensor, " neurons"]:
    """Entropy in nats of a neuron's activation probabilities, scaled to sum to 1; nan if all 0."""
    share = active / active.sum(dim=0)
    in_nats: Tensor = torch.special.entr(share).sum(dim=0)
    return in_nats
