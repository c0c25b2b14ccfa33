"""The lowest-ranked neurons of another method, as a control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.records import Scores
from keyneurons.selection.columns import scoring_of
from keyneurons.selection.interface import Source, Tagging, Traits, maxima_one_by_one
from keyneurons.selection.moments import Moments
from keyneurons.selection.scorer import NeuronScorer
from keyneurons.selection.views import View


@dataclass(frozen=True)
class Bottom:
    """Relative rank of a neuron by another method, reversed: the lowest-ranked neuron scores 1.

    Every neuron has a rank, also those with score 0; ties go to the lower neuron in the other
    method's ranking.
    """

    of: NeuronScorer

    def __post_init__(self) -> None:
        if not callable(self.of):
            raise ValueError("bottom reverses methods that score activations, not attributions")

    @property
    def traits(self) -> Traits:
        """Requirements of the other method, without a test."""
        of = scoring_of(self.of).traits
        return Traits(views=of.views, per_neuron=of.per_neuron)

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Relative ranks by the other method, in 0..1."""
        return self.places(self.of(values, tags, n_tags))

    def scores(
        self, source: Source, tags: Int[ndarray, " words"], moments: Mapping[View, Moments] | None = None
    ) -> Scores:
        """Relative ranks among all neurons of all layers."""
        of = scoring_of(self.of).scores(source, tags, moments)
        return replace(of, values=self.places(of.values), p_values=None, p_robust=None, effects=None)

    def maxima(self, source: Source, tagging: Tagging, n: int) -> Iterator[Float[Tensor, " tags"]]:
        """Largest absolute score of each tag under each of n taggings."""
        return maxima_one_by_one(self, source, tagging, n)

    def places(self, scores: Float[Tensor, "tags neurons"]) -> Float[Tensor, "tags neurons"]:
        """Relative ranks by these scores, in 0..1."""
        order = scores.abs().sort(dim=1, descending=True, stable=True).indices
        place = torch.arange(1, scores.shape[1] + 1, device=scores.device).expand_as(order)
        return torch.empty_like(scores).scatter_(1, order, place.to(scores) / scores.shape[1])
