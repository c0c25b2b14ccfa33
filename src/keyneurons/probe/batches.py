"""Batches of tensors that are already on the device, without workers or collation of items."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


class Batches:
    """Batches of near-equal size, at most ``batch_size`` rows, from tensors of equal length.

    With a generator, every pass is shuffled again and the seed determines all passes; without one,
    batches are views of the rows in order. Near-equal sizes avoid a noisy step on a small last
    batch.
    """

    def __init__(self, *tensors: Tensor, batch_size: int, generator: torch.Generator | None = None) -> None:
        """Store the tensors.

        Raises:
            ValueError: If the tensors are empty, their lengths differ or ``batch_size`` is below 1.
        """
        lengths = {len(tensor) for tensor in tensors}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"batches need tensors of equal length above 0, got lengths {sorted(lengths)}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self._tensors = tensors
        self._n_rows = lengths.pop()
        self._batch_size = batch_size
        self._generator = generator

    def __len__(self) -> int:
        """Number of batches in one pass."""
        return -(-self._n_rows // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Iterate over all rows once."""
        if self._generator is None:
            yield from zip(*(tensor.tensor_split(len(self)) for tensor in self._tensors), strict=True)
            return
        order = torch.randperm(self._n_rows, generator=self._generator).to(self._tensors[0].device)
        for rows in order.tensor_split(len(self)):
            # several times faster than indexing with [rows]
            yield tuple(tensor.index_select(0, rows) for tensor in self._tensors)
