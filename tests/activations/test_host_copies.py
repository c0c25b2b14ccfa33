"""Buffers of the host are reused only after their batch, also with asynchronous copies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from models import sentences
from torch import Tensor

from keyneurons.activations.capture import capture
from keyneurons.activations.extract import extract, rows_of
from keyneurons.activations.host_copies import HostCopies

CPU = torch.device("cpu")
PLACES = {"residual": (0, 2), "mlp": (1, 2)}


class Late:
    """Copies like those of a GPU at its slowest: made only when somebody waits for them."""

    def __init__(self) -> None:
        self.left: list[tuple[Tensor, Tensor]] = []

    def copy(self, buffer: Tensor, value: Tensor) -> None:
        buffer.fill_(torch.nan)  # so that a reader that does not wait is found out
        self.left.append((buffer, value.clone()))

    def mark(self) -> Callable[[], None]:
        own, self.left = self.left, []

        def wait() -> None:
            with torch.inference_mode():
                for buffer, value in own:
                    buffer.copy_(value)

        return wait


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_extraction_through_buffers_equals_fresh_tensors(reader, monkeypatch, late: bool, pooling: str) -> None:
    read = reader(pooling=pooling, batch_tokens=16)
    encoded = read.encode(sentences())
    plan = read.batches(encoded)
    assert len(plan) > 3
    if late:
        monkeypatch.setattr(HostCopies, "of", lambda _, rows: HostCopies(rows, Late()))

    def run(to_cpu: bool) -> dict[tuple[str, int], np.ndarray]:
        """Arrays by place; a batch is copied only when the one after it has been yielded."""
        n_words = sum(len(e.reads) for e in encoded)
        arrays = {
            (site, i): np.full((n_words, read.model.width(site)), np.nan, np.float16)
            for site in PLACES
            for i in PLACES[site]
        }
        before = []
        with capture(read.model.network, read.model.family, PLACES) as reading:
            for rows, taken in extract(encoded, plan, reading, CPU, torch.float16, causal=True, to_cpu=to_cpu):
                for own, parts in before:
                    write(arrays, own, parts)
                before = [(rows, taken)]
        write(arrays, *before[0])
        return arrays

    def write(arrays, rows, taken) -> None:
        for site, layers in taken.items():
            for i, kept in layers.items():
                arrays[site, i][rows] = kept.check(f"{site} layer {i}").numpy()

    through, fresh = run(to_cpu=True), run(to_cpu=False)
    for place, array in fresh.items():
        assert np.isfinite(array).all()
        np.testing.assert_array_equal(through[place], array)
    assert sum(map(len, rows_of(encoded, plan))) == len(array)


@pytest.mark.parametrize(("streams", "sets"), [(None, 2), (Late(), 3)])
def test_buffers_take_turns(streams: Late | None, sets: int) -> None:
    copies, value = HostCopies(4, streams), torch.arange(6.0).reshape(2, 3)
    places = []
    for n in range(7):
        copies.start()
        first, second = copies(value + n, torch.float16), copies(value + n, torch.float32)
        copies.mark()()
        assert torch.equal(first.float(), value + n)
        assert torch.equal(second, value + n)
        places.append((first.data_ptr(), second.data_ptr()))
    assert len(set(places)) == sets
    assert places[:sets] == places[sets : 2 * sets]


def test_a_batch_of_the_most_rows_after_a_small_one_fits() -> None:
    copies = HostCopies(5)
    for rows in (1, 1, 5, 5, 2):
        copies.start()
        assert copies(torch.ones(rows, 3), torch.float16).shape == (rows, 3)
        assert copies.scratch(rows, torch.ones(1, 1, 3)).shape == (rows, 3)
