"""Weights of a multinomial probe with an elastic-net penalty."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.scorer import checked_counts
from keyneurons.selection.solvers.multinomial import multinomial_weights, standardised


@dataclass(frozen=True)
class ElasticNet:
    """Weight of a neuron for a tag in a multinomial probe on standardised activations, signed.

    Minimises ``mean cross-entropy + l1 sum |W| + l2 ||W||_F^2`` with an unpenalised bias (Dalvi et
    al. 2019, arXiv:1812.09355), to the optimum; other toolkits stop after some epochs of Adam.
    Dalvi et al. select neurons by cumulative mass (``mass``). Invariant to shift and scale, but
    dependent on other neurons: redundant neurons share their weight, more evenly the larger ``l2``
    is relative to ``l1``. Frequent tags have larger weights. A constant neuron scores 0.
    ``tolerance`` is the largest subgradient at the solution, in units of the largest gradient at
    weights of 0. Memory: one float32 copy of the activations.
    """

    l1: float
    l2: float
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if not (0 <= self.l1 < float("inf") and 0 <= self.l2 < float("inf") and self.l1 + self.l2 > 0):
            raise ValueError(f"l1 and l2 must be finite, not negative and not both 0, got {self.l1} and {self.l2}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must lie between 0 and 1, got {self.tolerance}")

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Weights of every tag and neuron; errors as in ``checked_counts``."""
        checked_counts(values, tags, n_tags)
        return multinomial_weights(standardised(values), tags, n_tags, self.l1, self.l2, self.tolerance)
