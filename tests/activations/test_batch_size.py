"""Tokens per batch: as before on a CPU, by model and card on a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from keyneurons.activations.batch_size import ON_CPU, ON_GPU, gpu_tokens, tokens_per_batch

GB = 10**9
LLAMA3_8B = 32 * (4096 + 14336) * 2
SMOLLM2_135M = 30 * (576 + 1536) * 2


def test_a_number_is_taken_as_it_is_and_a_cpu_has_1024(tiny) -> None:
    model = tiny()
    assert tokens_per_batch(77, model) == 77
    assert tokens_per_batch("auto", model) == ON_CPU == 1024


@pytest.mark.parametrize(
    ("memory", "token", "tokens"),
    [(80 * GB, LLAMA3_8B, 16384), (24 * GB, LLAMA3_8B, 4096), (1 * GB, LLAMA3_8B, 1024), (8 * GB, SMOLLM2_135M, 8192)],
)
def test_a_gpu_has_a_power_of_two_that_fits(memory: int, token: int, tokens: int) -> None:
    assert gpu_tokens(memory, token) == tokens
    assert tokens == ON_CPU or tokens * token <= memory / 4
    assert tokens == ON_GPU or 2 * tokens * token > memory / 4


def test_the_card_and_the_model_decide(tiny, monkeypatch) -> None:
    model = tiny(dtype="float32")
    token = model.n_layers * (model.width("residual") + model.width("mlp")) * 4
    card = SimpleNamespace(total_memory=4 * 2048 * token)
    model.device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    assert tokens_per_batch("auto", model) == 2048
