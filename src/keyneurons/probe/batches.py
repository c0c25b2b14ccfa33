"""Batches gathered whole from tensors that already lie on the device: no workers, no item-by-item collation."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


class Batches:
    """Batches of tensors that share their first axis, of near-equal size and at most ``batch_size`` rows.

    With a generator every pass is shuffled anew, so its seed fixes the whole sequence; without one the rows come in
    order, as views. Equal sizes matter: a last batch of a few rows would be a step of pure noise.
    """

    def __init__(self, *tensors: Tensor, batch_size: int, generator: torch.Generator | None = None) -> None:
        """Hold the tensors.

        Raises:
            ValueError: if there is no row, the lengths differ or the batch size is not positive
        """
        lengths = {len(tensor) for tensor in tensors}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"batches need tensors of one length above 0, got lengths {sorted(lengths)}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self._tensors = tensors
        self._n_rows = lengths.pop()
        self._batch_size = batch_size
        self._generator = generator

    def __len__(self) -> int:
        """Number of batches of one pass."""
        return -(-self._n_rows // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """One pass over all rows."""
        if self._generator is None:
            yield from zip(*(tensor.tensor_split(len(self)) for tensor in self._tensors), strict=True)
            return
        order = torch.randperm(self._n_rows, generator=self._generator).to(self._tensors[0].device)
        for rows in order.tensor_split(len(self)):
            yield tuple(tensor.index_select(0, rows) for tensor in self._tensors)  # several times faster than [rows]
