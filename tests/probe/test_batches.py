"""Batches contain every row once, in an order determined by the seed."""

from __future__ import annotations

import pytest
import torch

from keyneurons.probe.batches import Batches

ROWS = torch.arange(23)


def test_shuffled_passes_hold_every_row_once_and_differ():
    batches = Batches(ROWS, ROWS * 2, batch_size=10, generator=torch.Generator().manual_seed(0))
    first, second = list(batches), list(batches)
    assert [len(rows) for rows, _ in first] == [8, 8, 7]
    assert len(batches) == 3
    for rows, doubled in first:
        assert torch.equal(doubled, rows * 2)
    order, other = (torch.cat([rows for rows, _ in batch]) for batch in (first, second))
    assert torch.equal(order.sort().values, ROWS)
    assert not torch.equal(order, other)


def test_without_generator_rows_come_in_order():
    assert torch.equal(torch.cat([rows for (rows,) in Batches(ROWS, batch_size=10)]), ROWS)


@pytest.mark.parametrize(
    ("tensors", "size", "message"),
    [((ROWS, ROWS[1:]), 1, r"lengths \[22, 23\]"), ((ROWS[:0],), 1, r"lengths \[0\]"), ((ROWS,), 0, "got 0")],
)
def test_bad_input_is_named(tensors, size, message):
    with pytest.raises(ValueError, match=message):
        Batches(*tensors, batch_size=size)
