"""Cost formulas compared with manual counts and with numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keyneurons.activations.entry import array_bytes
from keyneurons.plan.costs import (
    Passes,
    Shape,
    batch_bytes,
    captured_bytes,
    forward_flops,
    moments_bytes,
    probe_bytes,
    training_bytes,
)

SHAPE = Shape(
    parameters=1000,
    block_parameters=200,
    hidden=8,
    inner=24,
    heads=2,
    attention=8,
    keys=4,
    whole_scores=False,
    item_bytes=4,
)
PASSES = Passes.of([[2, 0], [1]], lengths=[3, 2, 5], words=[2, 1, 4])


@pytest.mark.parametrize("shape", [(1, 1), (7, 48), (999_999_999, 14336)])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_an_array_takes_what_numpy_writes(tmp_path, shape, dtype):
    small = (min(shape[0], 100), shape[1])
    np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=dtype, shape=small)
    item = np.dtype(dtype).itemsize
    assert array_bytes(*small, dtype) == (tmp_path / "a.npy").stat().st_size
    with (tmp_path / "header").open("wb") as file:  # the header of the whole array, without its numbers
        np.lib.format.write_array_header_1_0(file, {"descr": f"<f{item}", "fortran_order": False, "shape": shape})
        assert array_bytes(*shape, dtype) - shape[0] * shape[1] * item == file.tell()


def test_batches_are_summed_with_their_padding():
    assert Passes(2, 5 + 5 + 2, 25 + 25 + 4, 10, 50, 6) == PASSES


def test_operations_are_those_of_the_products():
    # one block: queries, keys, values and output of attention, gate, up and down;
    # sentences of 5, 5 and 2 tokens
    weights = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 24
    of_products = sum(2 * t * weights for t in (5, 5, 2))
    of_attention = sum(2 * 2 * (t * 4 * t + t * t * 4) for t in (5, 5, 2))  # two heads of 4
    assert forward_flops(weights, 1, 8, PASSES) == of_products + of_attention
    assert forward_flops(3 * weights, 3, 8, PASSES) == 3 * (of_products + of_attention)


def test_memory_grows_with_the_largest_batch_and_not_with_the_text():
    longer = replace(PASSES, batches=99, tokens=9999, squares=99999)
    assert batch_bytes(SHAPE, longer) == batch_bytes(SHAPE, PASSES)
    assert batch_bytes(SHAPE, PASSES) == 10 * (2 * 8 + 4 * 24) * 4
    assert batch_bytes(replace(SHAPE, item_bytes=2), PASSES) * 2 == batch_bytes(SHAPE, PASSES)
    # scores of two heads, in the model's format and in float32
    assert batch_bytes(replace(SHAPE, whole_scores=True), PASSES) - batch_bytes(SHAPE, PASSES) == 2 * 50 * (4 + 4 + 4)
    assert captured_bytes(6, 24, 3, 2, batches=2) == 2 * captured_bytes(6, 24, 3, 2) == 2 * 6 * 24 * 3 * 2


def test_probes_and_scores_take_what_their_arrays_take():
    sizes = {"words": 9000, "train_words": 6000, "dev_words": 2000, "columns": 10, "item_bytes": 2}
    kept, piece = np.zeros((8000, 10), dtype=np.float32).nbytes, 10 * 1024 * (2 + 4 + 4 + 4)
    assert probe_bytes(**sizes, batch_words=16, budget=kept) == kept + piece
    assert probe_bytes(**sizes, batch_words=16, budget=kept - 1) == 2 * 16 * 10 * (2 + 4 + 4 + 4) + piece
    of_sums = [moments_bytes(48, layers, 17, 2, 2**20) for layers in (1, 2, 3)]
    assert of_sums[2] - of_sums[1] == of_sums[1] - of_sums[0] == 17 * 48 * 8 * 8


def test_training_takes_parameters_gradients_moments_best_weights_results_and_predictions():
    parameters = np.zeros((2, 3, 4), dtype=np.float32)  # two probes of three neurons and four classes
    predictions = np.zeros((2, 100), dtype=np.int64)
    assert training_bytes(parameters.size, 2, 100) == 6 * parameters.nbytes + predictions.nbytes
