"""The latents of words that are not 0: encoded once, then kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.arrays import Columns
from keyneurons.progress import stage

if TYPE_CHECKING:
    from scipy.sparse import csc_array, csr_array

BYTES_BY_VALUE = 8  # a float32 and the number of its latent
WORDS_AT_ONCE = 1024
SHARE = 0.5  # of the free memory


@dataclass(frozen=True)
class Triplets:
    """Latents of some words that are not 0: their number by word, then latent and value of each."""

    counts: Int[ndarray, " words"]
    latents: Int[ndarray, " values"]
    values: Float[ndarray, " values"]


@dataclass(frozen=True, eq=False)
class SparseUnits:
    """The sparse units of a layer, encoded when they are first read.

    Memory: 8 bytes for each value that is not 0, twice after blocks of units have been read.
    """

    source: ndarray
    n_units: int
    basis: str
    active: Callable[[Tensor], Iterable[Triplets]]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of words, and of units."""
        return len(self.source), self.n_units

    @property
    def dtype(self) -> np.dtype[Any]:
        """Units are encoded in float32."""
        return np.dtype(np.float32)

    def read(self, rows: Int[ndarray, " rows"], columns: Columns) -> Num[ndarray, "rows columns"]:
        """Some words and units, as a dense array."""
        if isinstance(columns, slice):
            block: ndarray = self._by_unit[:, columns].tocsr()[rows].toarray()
            return block
        chosen = self._by_word[rows]
        dense: ndarray = (chosen if columns is None else chosen[:, columns]).toarray()
        return dense

    @cached_property
    def _by_word(self) -> csr_array:
        from scipy.sparse import csr_array

        n_words, parts = len(self.source), list[Triplets]()
        with stage("encoding", total=n_words, unit="words") as progress:
            for first in range(0, n_words, WORDS_AT_ONCE):
                words = np.array(self.source[first : first + WORDS_AT_ONCE])
                parts += self.active(torch.from_numpy(words))
                if first == 0:
                    self._check_memory(sum(len(part.values) for part in parts) / max(1, len(words)))
                progress.advance(len(words))
        starts = np.concatenate([[0], *(part.counts for part in parts)]).cumsum()
        latents, values = (np.concatenate([getattr(p, name) for p in parts]) for name in ("latents", "values"))
        return csr_array((values, latents, starts), shape=self.shape)

    @cached_property
    def _by_unit(self) -> csc_array:
        return self._by_word.tocsc()

    def _check_memory(self, by_word: float) -> None:
        """Check that the values of all words fit into memory, by those of the first words.

        Raises:
            ValueError: they do not.
        """
        needed, free = by_word * len(self.source) * BYTES_BY_VALUE, psutil.virtual_memory().available
        if needed > SHARE * free:
            raise ValueError(
                f"{by_word:.0f} of {self.n_units} latents are active on a word, and those of "
                f"{len(self.source)} words need {needed / 1e9:.1f} GB of memory, of which {free / 1e9:.1f} GB are free"
            )
