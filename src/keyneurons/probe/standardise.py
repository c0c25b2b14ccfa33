"""Standardisation to zero mean and unit variance, fitted on train."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_CHUNK = 1024  # words converted to float64 at a time


@dataclass(frozen=True)
class Standardiser:
    """Mean and population standard deviation of each column; 0 marks a constant column."""

    mean: Float[Tensor, " columns"]
    std: Float[Tensor, " columns"]

    @classmethod
    def fit(cls, features: Float[Tensor, "words columns"]) -> Standardiser:
        """Fit mean and standard deviation on train; sums are computed in float64.

        Args:
            features: Float32 activations of the train words.

        Returns:
            The standardiser of these columns.
        """
        chunks = torch.split(features, _CHUNK)
        mean = torch.stack([chunk.double().sum(dim=0) for chunk in chunks]).sum(dim=0) / len(features)
        squares = torch.stack([(chunk.double() - mean).square_().sum(dim=0) for chunk in chunks])
        variance = squares.sum(dim=0) / len(features)
        # Rounding can give a constant column a tiny deviation, which would inflate it in other
        # splits.
        constant = features.amin(dim=0) == features.amax(dim=0)
        return cls(mean.float(), variance.sqrt().float().masked_fill(constant, 0.0))

    def __call__(self, features: Float[Tensor, "words columns"]) -> Float[Tensor, "words columns"]:
        """Standardise in float32; columns that are constant in train become 0."""
        scale = torch.where(self.std > 0, self.std.reciprocal(), 0.0)
        return (features - self.mean).mul_(scale)
