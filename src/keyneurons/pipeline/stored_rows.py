"""Activations of some neurons in memory-mapped arrays, read for some words at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor


@dataclass(frozen=True)
class StoredRows:
    """The activations of some neurons on some words.

    ``arrays`` has one array for each layer, ``rows`` the row of each word in them, and ``columns``
    the neurons as ascending positions in the concatenated layers.
    """

    arrays: Sequence[Float[ndarray, "all_words neurons"]]
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
        """The activations of all words."""
        return self._read(self.rows)

    def _read(self, rows: Int[ndarray, " some"]) -> Float[Tensor, "some columns"]:
        width = self.arrays[0].shape[1]
        layer, neuron = np.divmod(self.columns, width)
        ends = np.searchsorted(layer, np.arange(len(self.arrays) + 1))
        values = np.empty((len(rows), len(self.columns)), self.arrays[0].dtype)
        for array, start, end in zip(self.arrays, ends, ends[1:], strict=False):
            if end - start == width:
                values[:, start:end] = array[rows]
            elif end > start:
                values[:, start:end] = array[rows][:, neuron[start:end]]
        return torch.from_numpy(values)
