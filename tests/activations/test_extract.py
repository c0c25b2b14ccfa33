"""Batching changes only the speed."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from models import SHAPES, sentence, sentences

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.capture import capture
from keyneurons.activations.extract import make_batch, plan_batches
from keyneurons.models.families import FAMILIES

KINDS = [kind for kind in SHAPES if kind in FAMILIES]


@pytest.mark.parametrize("budget", [1, 7, 30, 64, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_plan_laws(seed, budget):
    lengths = np.random.default_rng(seed).integers(1, 40, 60).tolist()
    plan = plan_batches(lengths, budget)
    assert sorted(i for batch in plan for i in batch) == list(range(60))
    assert [lengths[i] for batch in plan for i in batch] == sorted(lengths, reverse=True)
    for batch in plan:
        assert len(batch) * max(lengths[i] for i in batch) <= budget or len(batch) == 1
    # the first sentence of a batch does not fit into the batch before
    for batch, after in zip(plan, plan[1:], strict=False):
        assert (len(batch) + 1) * max(lengths[i] for i in [*batch, after[0]]) > budget
    assert plan == plan_batches(lengths, budget)


def test_plan_of_nothing():
    assert plan_batches([], 100) == []


@pytest.mark.parametrize("pad_left", [False, True])
def test_rows_and_positions_by_hand(pad_left):
    batch = make_batch([Encoded((5, 6, 7), ((1, 1), (1, 2))), Encoded((8, 9), ((1, 1),))], [10, 3], pad_left)
    assert batch.ids.tolist() == [[5, 6, 7], [0, 8, 9] if pad_left else [8, 9, 0]]
    assert batch.mask.tolist() == [[1, 1, 1], [0, 1, 1] if pad_left else [1, 1, 0]]
    assert batch.rows.tolist() == [10, 11, 3]
    inputs = batch.inputs(torch.device("cpu"))
    assert ("position_ids" in inputs) == pad_left  # right padding does not shift positions
    if pad_left:
        assert inputs["position_ids"][batch.mask == 1].tolist() == [0, 1, 2, 0, 1]
    hidden = torch.stack([batch.ids, batch.ids**2], 2).float()
    assert batch.read(hidden).tolist() == [[6, 36], [6.5, 42.5], [9, 81]]


def test_a_sentence_without_words_has_no_rows():
    batch = make_batch([Encoded((5, 6), ())], [0], pad_left=False)
    assert batch.read(torch.zeros(1, 2, 3)).shape == (0, 3)


def test_means_of_half_precision_do_not_overflow():
    batch = make_batch([Encoded((1, 2, 3), ((0, 2),))], [0], pad_left=False)
    assert batch.read(torch.full((1, 3, 1), 60000.0, dtype=torch.float16)).item() == 60000


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
def test_batched_equals_single(reader, tiny, kind, side, passes):
    model = tiny(kind)
    model.tokenizer = copy.deepcopy(model.tokenizer)  # models of one folder share a tokenizer
    model.tokenizer.padding_side = side
    found = {}
    for n, budget in (("single", 1), ("batched", 100_000)):
        read = reader(model=model, layers=(1, 3), dtype="float32", batch_tokens=budget, pooling="mean")
        key = {**read.key(sentences()), "budget": n}
        with read.store.entry(key).lock():
            read._extract(read.store.entry(key), sentences(), {"residual": [1, 3]}, n)
        found[n] = {layer: read.store.entry(key).load("residual", layer) for layer in (1, 3)}
    assert passes == [1] * len(sentences()) + [len(sentences())]
    for layer in (1, 3):
        single, batched = found["single"][layer], found["batched"][layer]
        assert np.abs(single - batched).max() < 1e-4 * np.abs(single).max()


@pytest.mark.parametrize("side", ["left", "right"])
def test_sides_matter_when_the_mask_is_forgotten(tiny, side):
    """The sanity twin: unmasked left padding does change activations."""
    model = tiny("gpt2")
    encoded = [Encoded(tuple(range(5, 25)), ((1, 1),)), Encoded((5, 6, 7), ((2, 2),))]
    batch = make_batch(encoded, [0, 1], side == "left")
    careless = replace(batch, mask=torch.ones_like(batch.mask))
    with capture(model.network, model.family, {"residual": (3,)}) as reading:
        good, bad = (reading(b.inputs(torch.device("cpu")), b.read)["residual"][3] for b in (batch, careless))
    assert torch.allclose(good, bad, atol=1e-5) == (side == "right")


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_words_by_hand_from_the_hidden_states(reader, pooling):
    text = sentence(
        "The wolfhound cannot see 🙂 it.", (0, 3), (4, 13), (14, 17), (17, 20), (21, 24), (25, 26), (27, 29)
    )
    read = reader(pooling=pooling, dtype="float32", layers=(1,))
    tokens = read.model.tokenizer(text.text, return_offsets_mapping=True, add_special_tokens=False)
    with torch.inference_mode():
        ids = torch.tensor([[1, *tokens["input_ids"]]])
        hidden = read.model.network(ids, output_hidden_states=True).hidden_states[2][0, 1:]
    for row, word in zip(read([text], "x")[1], text.words, strict=True):
        own = hidden[[b > word.start and a < word.end for a, b in tokens["offset_mapping"]]]
        expected = {"first": own[0], "last": own[-1], "mean": own.mean(0)}[pooling]
        np.testing.assert_allclose(row, expected.numpy(), rtol=1e-5, atol=1e-6)


def test_prediction_by_hand_from_the_hidden_states(reader):
    text = sentence("The wolfhound cannot see.")
    read = reader(read_at="prediction", dtype="float32", layers=(1,))
    tokens = read.model.tokenizer(text.text, return_offsets_mapping=True, add_special_tokens=False)
    with torch.inference_mode():
        ids = torch.tensor([[1, *tokens["input_ids"]]])
        hidden = read.model.network(ids, output_hidden_states=True).hidden_states[2][0]
    firsts = [next(i for i, (_, b) in enumerate(tokens["offset_mapping"]) if b > word.start) for word in text.words]
    np.testing.assert_array_equal(read([text], "x")[1], hidden[firsts].numpy())
