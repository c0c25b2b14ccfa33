"""Arrays ``[words, neurons]`` that are read in parts: cached, or units encoded from cached ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Num
from numpy import ndarray

Columns = slice | Int[ndarray, " columns"] | None
"""A slice, indices, or all columns."""


@runtime_checkable
class Encoded(Protocol):
    """The activations of units, encoded when they are read from the activations of neurons.

    ``source`` is the array of neurons, ``basis`` the digest of what encodes it.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Number of words, and of units."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number format of what is read."""
        ...

    @property
    def source(self) -> ndarray:
        """The activations of the neurons."""
        ...

    @property
    def basis(self) -> str:
        """Digest of the basis."""
        ...

    def read(self, rows: Int[ndarray, " rows"], columns: Columns) -> Num[ndarray, "rows columns"]:
        """Encode some words."""
        ...


Stored = ndarray | Encoded


def read_array(array: Stored, rows: Int[ndarray, " rows"], columns: Columns = None) -> Num[ndarray, "rows columns"]:
    """Some rows and columns of an array."""
    if not isinstance(array, ndarray):
        return array.read(rows, columns)
    if isinstance(columns, slice):
        part: ndarray = array[rows, columns]
        return part
    taken: ndarray = array.take(rows, axis=0)
    return taken if columns is None else taken[:, columns]


def cached_file(array: Stored) -> tuple[Path, os.stat_result] | None:
    """The cache file that an array is read or encoded from, and its state; None without one."""
    source = array if isinstance(array, ndarray) else array.source
    if not isinstance(source, np.memmap) or source.filename is None or not os.path.exists(source.filename):
        return None
    return Path(source.filename), os.stat(source.filename)


def basis_facts(array: Stored) -> tuple[str, ...]:
    """The digest of the basis of encoded units; empty for neurons."""
    return () if isinstance(array, ndarray) else (array.basis,)
