"""Standardisation to zero mean and unit variance, fitted on train."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

PIECE = 1024  # words whose sums are computed in float32


@dataclass(frozen=True)
class Standardiser:
    """Mean and population standard deviation of each column; 0 marks a constant column."""

    mean: Float[Tensor, " columns"]
    std: Float[Tensor, " columns"]

    @classmethod
    def fit(cls, pieces: Iterable[Float[Tensor, "_words columns"]]) -> Standardiser:
        """Fit mean and standard deviation on train.

        Sums of differences from the mean of the first piece are computed in float32 within a piece
        and in float64 across pieces.

        Args:
            pieces: Float32 activations of the train words, ``PIECE`` words at a time.

        Returns:
            The standardiser of these columns.
        """
        n, sums, lowest, highest = 0, torch.empty(0), torch.empty(0), torch.empty(0)
        for values in pieces:
            low, high = torch.aminmax(values, dim=0)
            if not n:
                pilot, lowest, highest = values.mean(dim=0), low, high
                sums = pilot.new_zeros(2, len(pilot), dtype=torch.float64)
            shifted = values - pilot
            sums[0] += shifted.sum(dim=0)
            sums[1] += shifted.square_().sum(dim=0)
            lowest, highest = torch.minimum(lowest, low), torch.maximum(highest, high)
            n += len(values)
        shift, square = sums / n
        variance = (square - shift.square()).clamp_(min=0)
        # Rounding can give a constant column a tiny deviation, which would inflate it in other
        # splits.
        std = variance.sqrt().float().masked_fill(lowest == highest, 0.0)
        return cls((pilot.double() + shift).float(), std)

    def __call__(self, features: Float[Tensor, "words columns"]) -> Float[Tensor, "words columns"]:
        """Standardise in float32; columns that are constant in train become 0."""
        scale = torch.where(self.std > 0, self.std.reciprocal(), 0.0)
        return (features - self.mean).mul_(scale)
