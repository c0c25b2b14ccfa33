"""Which neurons are among the strongest of a word."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Bool, Num
from torch import Tensor


@dataclass(frozen=True)
class TopShare:
    """A view of attributions: 1 where a neuron is among the strongest of its word, else 0.

    The strongest are the ``share`` of the neurons with the largest values, and only those above 0, or, if not
    ``signed``, with the largest magnitudes, and only those that are not 0. They are found among the neurons of a layer,
    or among those of all layers side by side. Their number is rounded, one half upwards, and at least 1; ties go to the
    lower neuron.
    """

    share: float
    signed: bool = True
    of_all_layers: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share must lie between 0 and 1, both excluded, got {self.share}")

    def __call__(self, values: Num[Tensor, "words neurons"]) -> Bool[Tensor, "words neurons"]:
        """Whether each neuron is among the strongest of each word."""
        strength = values if self.signed else values.abs()
        exact = round(self.share * values.shape[1], 6)  # a share such as .29 is a little less in binary
        wanted = max(1, math.floor(exact + 0.5))
        least = strength.topk(wanted, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
        above, level = strength > least, strength == least
        room = wanted - above.sum(dim=1, keepdim=True)
        return (above | level & (level.cumsum(dim=1) <= room)) & (strength > 0)
