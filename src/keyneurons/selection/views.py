"""What of an activation is summed: its value, its magnitude, or whether it counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor


@runtime_checkable
class View(Protocol):
    """Numbers derived from activations, to be summed; equal views give equal numbers."""

    @property
    def of_all_layers(self) -> bool:
        """Whether the view needs the neurons of all layers side by side, not one layer at a time."""
        ...

    def write(
        self, values: Num[Tensor, "words neurons"], out: Float[Tensor, "words neurons"]
    ) -> Float[Tensor, "words neurons"]:
        """Write the numbers of some words to ``out`` and return it; what is not finite stays so."""
        ...


@dataclass(frozen=True)
class Value:
    """The activation itself."""

    of_all_layers: ClassVar[bool] = False

    def write(
        self, values: Num[Tensor, "words neurons"], out: Float[Tensor, "words neurons"]
    ) -> Float[Tensor, "words neurons"]:
        """Copy the activations."""
        return out.copy_(values)


@dataclass(frozen=True)
class Magnitude:
    """The absolute activation."""

    of_all_layers: ClassVar[bool] = False

    def write(
        self, values: Num[Tensor, "words neurons"], out: Float[Tensor, "words neurons"]
    ) -> Float[Tensor, "words neurons"]:
        """Copy the magnitudes of the activations."""
        return out.copy_(values).abs_()


@dataclass(frozen=True)
class Positive:
    """1 where the activation is above 0, else 0."""

    of_all_layers: ClassVar[bool] = False

    def write(
        self, values: Num[Tensor, "words neurons"], out: Float[Tensor, "words neurons"]
    ) -> Float[Tensor, "words neurons"]:
        """Mark the activations above 0."""
        return _mark(values > 0, values, out)


@dataclass(frozen=True)
class TopShare:
    """1 where a neuron is among the strongest of its word, else 0; for attributions.

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

    def write(
        self, values: Num[Tensor, "words neurons"], out: Float[Tensor, "words neurons"]
    ) -> Float[Tensor, "words neurons"]:
        """Mark the strongest neurons of each word."""
        return _mark(self(values), values, out)


VALUE, MAGNITUDE, POSITIVE = Value(), Magnitude(), Positive()


def _mark(
    counted: Bool[Tensor, "words neurons"],
    values: Num[Tensor, "words neurons"],
    out: Float[Tensor, "words neurons"],
) -> Float[Tensor, "words neurons"]:
    return out.copy_(counted).masked_fill_(~values.isfinite(), torch.nan)
