"""Linear bases: coordinates along orthonormal directions of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.arrays import Columns, Stored
from keyneurons.choices import Target


@dataclass(frozen=True)
class Directions:
    """Orthonormal directions of a layer, the columns of ``axes``, and the origin ``centre``.

    A direction without a unit is a column of zeros: its coordinate is 0 on all words.
    """

    axes: Float[Tensor, "neurons units"]
    centre: Float[Tensor, " neurons"]


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear basis: units ``(x - centre) @ axes``; a change of units moves x along their axes."""

    target: ClassVar[Target | None] = None

    name: str
    digest: str
    by_layer: Mapping[int, Directions]

    def units(self, width: int) -> int:
        """As many as there are neurons."""
        return width

    def encode(
        self, layer: int, values: Num[Tensor, "*words neurons"], units: Int[Tensor, " units"] | None = None
    ) -> Num[Tensor, "*words units"]:
        """Coordinates in float32."""
        own = self.by_layer[layer]
        axes = own.axes if units is None else own.axes[:, units.to(own.axes.device)]
        return (values.float() - own.centre.to(values.device)) @ axes.to(values.device)

    def change(
        self,
        layer: int,
        values: Float[Tensor, "*words neurons"],
        units: Int[Tensor, " units"],
        before: Float[Tensor, "*words units"],
        after: Float[Tensor, "*words units"],
    ) -> None:
        """Move the activations along the directions of the units."""
        axes = self.by_layer[layer].axes[:, units.cpu()].to(values.device)
        values += ((after - before).float() @ axes.T).to(values)

    def stored(self, layer: int, array: ndarray) -> Stored:
        """The coordinates of an array, computed when they are read."""
        return Coordinates(self, layer, array)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The units of a linear basis in one layer, computed from the activations of the neurons."""

    linear: Linear
    layer: int
    source: ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Number of words, and of units."""
        return len(self.source), self.linear.units(self.source.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Coordinates are computed in float32."""
        return np.dtype(np.float32)

    @property
    def basis(self) -> str:
        """Digest of the basis."""
        return self.linear.digest

    def read(self, rows: Int[ndarray, " rows"], columns: Columns) -> Num[ndarray, "rows columns"]:
        """Compute the coordinates of some words."""
        values = torch.from_numpy(self.source.take(rows, axis=0))
        numbers = None if columns is None else torch.arange(self.shape[1])[columns]
        coordinates: ndarray = self.linear.encode(self.layer, values, numbers).numpy()
        return coordinates
