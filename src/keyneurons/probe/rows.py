"""Activations of words that are read when they are needed; a tensor is the simplest case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class Rows(Protocol):
    """The activations of words, one row per word; a tensor ``[words, columns]`` is one.

    Others, such as memory-mapped arrays, read the rows of some words from the disk.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of words, and of columns."""
        ...

    def __getitem__(self, words: Int[Tensor, " some"], /) -> Float[Tensor, "some columns"]:
        """The activations of some words."""
        ...


@dataclass(frozen=True)
class Columns:
    """Some columns of the activations of words, in float32 on a device."""

    rows: Rows
    columns: Int[Tensor, " columns"]
    device: torch.device

    @property
    def n_words(self) -> int:
        """Number of words."""
        return int(self.rows.shape[0])

    def __getitem__(self, words: Int[Tensor, " some"]) -> Float[Tensor, "some columns"]:
        """The activations of some words."""
        values = self.rows[words].to(self.device)
        if len(self.columns) < values.shape[1]:
            values = values.index_select(1, self.columns)
        return values.float()

    def pieces(self, n: int) -> Iterator[Float[Tensor, "some columns"]]:
        """The activations of all words in order, at most ``n`` words at a time."""
        return (self[words] for words in torch.split(torch.arange(self.n_words), n))
