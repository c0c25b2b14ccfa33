"""Views of activations whose moments are computed: value, magnitude, or membership in a set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor


@runtime_checkable
class View(Protocol):
    """Numbers derived from activations; equal views give equal numbers."""

    @property
    def of_all_layers(self) -> bool:
        """Whether the view needs the neurons of all layers at once."""
        ...

    def write(
        self, values: Num[Tensor, "words neurons"], out: Float[Tensor, "words neurons"]
    ) -> Float[Tensor, "words neurons"]:
        """Write the numbers of some words to ``out`` and return it; non-finite values are kept."""
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
    """The absolute value of the activation."""

    of_all_layers: ClassVar[bool] = False

    def write(
        self, values: Num[Tensor, "words neurons"], out: Float[Tensor, "words neurons"]
    ) -> Float[Tensor, "words neurons"]:
        """Copy the absolute activations."""
        return out.copy_(values).abs_()


@dataclass(frozen=True)
class Positive:
    """1 where the activation is above 0, else 0."""

    of_all_layers: ClassVar[bool] = False

    def write(
        self, values: Num[Tensor, "words neurons"], out: Float[Tensor, "words neurons"]
    ) -> Float[Tensor, "words neurons"]:
        """Mark the activations above 0."""
        finite = out.copy_(values) * 0  # or nan; the comparison of half-precision numbers is slow on a CPU
        return torch.gt(out, 0, out=out).add_(finite)


@dataclass(frozen=True)
class TopShare:
    """1 where a neuron is among the strongest of its word, else 0; for attributions.

    The strongest are the ``share`` of neurons with the largest values above 0 or, if not
    ``signed``, with the largest non-zero magnitudes. The share is of the neurons of a layer, or of
    all layers (``of_all_layers``). Their number is rounded half up and is at least 1; ties go to
    the lower neuron.
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
        exact = round(self.share * values.shape[1], 6)  # binary rounding: .29 is stored as slightly less
        count = max(1, math.floor(exact + 0.5))
        least = strength.topk(count, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
        above, level = strength > least, strength == least
        room = count - above.sum(dim=1, keepdim=True)
        return (above | level & (level.cumsum(dim=1) <= room)) & (strength > 0)

    def write(
        self, values: Num[Tensor, "words neurons"], out: Float[Tensor, "words neurons"]
    ) -> Float[Tensor, "words neurons"]:
        """Mark the strongest neurons of each word."""
        return _mark(self(values), values, out)


VALUE, MAGNITUDE, POSITIVE = Value(), Magnitude(), Positive()
OF_ACTIVATIONS: tuple[View, ...] = (VALUE, MAGNITUDE, POSITIVE)
"""The views of all methods of the package that score activations by moments."""


def _mark(
    counted: Bool[Tensor, "words neurons"],
    values: Num[Tensor, "words neurons"],
    out: Float[Tensor, "words neurons"],
) -> Float[Tensor, "words neurons"]:
    return out.copy_(counted).masked_fill_(~values.isfinite(), torch.nan)
