"""Mean weight of a neuron in one multinomial probe for all tags."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.scorer import checked_counts
from keyneurons.selection.solvers.multinomial import multinomial_weights, standardised


@dataclass(frozen=True)
class LinearWeights:
    """Mean over the tags of the magnitude of a neuron's weight in a multinomial probe, at least 0.

    Antverg & Belinkov 2022 (arXiv:2110.07483) call this ranking linear. It is one ranking for the
    whole tag set: all tags get the same scores and sets, so their overlap is meaningless. The probe
    minimises ``mean cross-entropy + l2 ||W||_F^2`` on standardised activations with an unpenalised
    bias. Invariant to shift and scale, but dependent on other neurons: redundant neurons share
    their weight. A constant neuron scores 0. ``tolerance`` is as in ``ElasticNet``.
    """

    l2: float
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if not 0 < self.l2 < float("inf"):
            raise ValueError(f"l2 must be above 0 and finite, got {self.l2}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must lie between 0 and 1, got {self.tolerance}")

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Mean weight of every neuron, repeated for each tag; errors as in ``checked_counts``."""
        checked_counts(values, tags, n_tags)
        weights = multinomial_weights(standardised(values), tags, n_tags, 0.0, self.l2, self.tolerance)
        return weights.abs().mean(dim=0).repeat(n_tags, 1)
