"""Zero mean and unit variance, measured on train and applied to every split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_CHUNK = 1024  # words that are held in float64 at a time


@dataclass(frozen=True)
class Standardiser:
    """Mean and (population) standard deviation of every column; a deviation of 0 marks a constant column."""

    mean: Float[Tensor, " columns"]
    std: Float[Tensor, " columns"]

    @classmethod
    def fit(cls, features: Float[Tensor, "words columns"]) -> Standardiser:
        """Measure the columns of the train split; sums run in float64.

        Args:
            features: float32 activations of the train words

        Returns:
            The standardiser of these columns.
        """
        chunks = torch.split(features, _CHUNK)
        mean = torch.stack([chunk.double().sum(dim=0) for chunk in chunks]).sum(dim=0) / len(features)
        squares = torch.stack([(chunk.double() - mean).square_().sum(dim=0) for chunk in chunks])
        variance = squares.sum(dim=0) / len(features)
        # Rounding can leave a constant column with a tiny deviation, which would blow it up in another split.
        constant = features.amin(dim=0) == features.amax(dim=0)
        return cls(mean.float(), variance.sqrt().float().masked_fill(constant, 0.0))

    def __call__(self, features: Float[Tensor, "words columns"]) -> Float[Tensor, "words columns"]:
        """Standardise in float32; a column that was constant in train is 0 in every split."""
        scale = torch.where(self.std > 0, self.std.reciprocal(), 0.0)
        return (features - self.mean).mul_(scale)
