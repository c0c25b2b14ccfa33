"""Weights of one probe over all tags under an elastic-net penalty."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.scorer import checked_counts
from keyneurons.selection.solvers.multinomial import multinomial_weights, standardised


@dataclass(frozen=True)
class ElasticNet:
    """Weight of a neuron for a tag in a multinomial probe on standardised activations, signed.

    Minimises ``mean cross-entropy + l1 sum |W| + l2 ||W||_F^2``, the bias not penalised (Dalvi et al. 2019,
    arXiv:1812.09355), to the optimum, where toolkits stop after some epochs of Adam. Theirs is the rule that takes
    neurons by cumulative mass (``mass``). It ignores shift and scale, and not the other neurons: those that say the
    same share their weight, the more evenly the larger ``l2`` is beside ``l1``. A frequent tag has larger weights. A
    constant neuron scores 0. ``tolerance`` is the largest subgradient left, in units of the largest gradient without
    any weight. Activations are held once as float32.
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
        """Weights of every tag and neuron; refuses what ``checked_counts`` refuses."""
        checked_counts(values, tags, n_tags)
        return multinomial_weights(standardised(values), tags, n_tags, self.l1, self.l2, self.tolerance)
