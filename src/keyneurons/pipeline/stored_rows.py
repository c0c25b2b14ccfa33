"""Activations of some neurons in memory-mapped arrays, read for some words at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.arrays import Stored, read_array

WORDS_AT_ONCE = 4096


@dataclass(frozen=True)
class StoredRows:
    """The activations of some neurons on some words.

    ``arrays`` has one array for each layer, ``rows`` the row of each word in them, and ``columns``
    the neurons as ascending positions in the concatenated layers.
    """

    arrays: Sequence[Float[Stored, "all_words neurons"]]
    rows: Int[ndarray, " words"]
    columns: Int[ndarray, " columns"]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of words, and of neurons."""
        return len(self.rows), len(self.columns)

    def __getitem__(self, words: Int[Tensor, " some"]) -> Float[Tensor, "some columns"]:
        """The activations of some words by position."""
        return self._read(self.rows[words.numpy()])

    def all(self) -> Float[Tensor, "words columns"]:
        """The activations of all words, read some words at a time."""
        pieces = [self._read(self.rows[i : i + WORDS_AT_ONCE]) for i in range(0, len(self.rows), WORDS_AT_ONCE)]
        return torch.cat(pieces) if pieces else self._read(self.rows)

    @cached_property
    def _places(self) -> list[tuple[int, slice, Int[ndarray, " neurons"] | None]]:
        """By layer that is read: its index, its columns, and its neurons (None: all)."""
        width = self.arrays[0].shape[1]
        layer, neuron = np.divmod(self.columns, width)
        ends = np.searchsorted(layer, np.arange(len(self.arrays) + 1)).tolist()
        spans = [(i, slice(start, end)) for i, (start, end) in enumerate(pairwise(ends)) if end > start]
        return [(i, own, None if own.stop - own.start == width else neuron[own]) for i, own in spans]

    def _read(self, rows: Int[ndarray, " some"]) -> Float[Tensor, "some columns"]:
        values = np.empty((len(rows), len(self.columns)), self.arrays[0].dtype)
        for i, own, neurons in self._places:
            values[:, own] = read_array(self.arrays[i], rows, neurons)
        return torch.from_numpy(values)
