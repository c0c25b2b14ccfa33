"""The interface of a basis, and the basis of the neurons themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.arrays import Stored
from keyneurons.choices import Target


@runtime_checkable
class Basis(Protocol):
    """Maps the activations of a layer's neurons to units, which have directions in their space."""

    @property
    def name(self) -> str:
        """Name in configurations, files and names of units."""
        ...

    @property
    def digest(self) -> str:
        """Identifies the basis: results of equal digests are of the same units."""
        ...

    @property
    def target(self) -> Target | None:
        """The activations that a change of units moves; None for those at the site read."""
        ...

    def units(self, width: int) -> int:
        """Number of units of a layer with ``width`` neurons."""
        ...

    def encode(
        self, layer: int, values: Num[Tensor, "*words neurons"], units: Int[Tensor, " units"] | None = None
    ) -> Num[Tensor, "*words units"]:
        """The activations of some units, or of all."""
        ...

    def change(
        self,
        layer: int,
        values: Float[Tensor, "*words neurons"],
        units: Int[Tensor, " units"],
        before: Float[Tensor, "*words units"],
        after: Float[Tensor, "*words units"],
    ) -> None:
        """Change some units, which moves ``values`` of the target in place along their directions.

        What no unit describes, such as the error of an autoencoder, stays.
        """
        ...

    def stored(self, layer: int, array: ndarray) -> Stored:
        """The units of an array of neurons ``[words, neurons]``, encoded when they are read."""
        ...


@dataclass(frozen=True)
class Neurons:
    """The neurons themselves."""

    name: ClassVar[str] = "neurons"
    digest: ClassVar[str] = "neurons"
    target: ClassVar[Target | None] = None

    def units(self, width: int) -> int:
        """The number of neurons."""
        return width

    def encode(
        self, layer: int, values: Num[Tensor, "*words neurons"], units: Int[Tensor, " units"] | None = None
    ) -> Num[Tensor, "*words units"]:
        """The activations themselves."""
        return values if units is None else values[..., units]

    def change(
        self,
        layer: int,
        values: Float[Tensor, "*words neurons"],
        units: Int[Tensor, " units"],
        before: Float[Tensor, "*words units"],
        after: Float[Tensor, "*words units"],
    ) -> None:
        """Replace some activations; all others are the same bit for bit."""
        values[..., units] = after

    def stored(self, layer: int, array: ndarray) -> Stored:
        """The array itself."""
        return array


NEURONS = Neurons()
