"""The lowest-ranked neurons of another method, as a control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.scorer import NeuronScorer


@dataclass(frozen=True)
class Bottom:
    """The place of a neuron in the ranking of another method, as a share of all neurons: the lowest has 1.

    Every neuron has a place, ties going to the lower neuron there; so has one whose score is 0.
    """

    of: NeuronScorer
    per_neuron: ClassVar[bool] = False

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Places in the ranking of the other method, in 0..1."""
        return self.places(self.of(values, tags, n_tags))

    def places(self, scores: Float[Tensor, "tags neurons"]) -> Float[Tensor, "tags neurons"]:
        """Places in the ranking by these scores, in 0..1."""
        order = scores.abs().sort(dim=1, descending=True, stable=True).indices
        place = torch.arange(1, scores.shape[1] + 1, device=scores.device).expand_as(order)
        return torch.empty_like(scores).scatter_(1, order, place.to(scores) / scores.shape[1])
