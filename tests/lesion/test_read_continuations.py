"""Surprisal and embeddings of continuations agree with transformers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from models import save_tiny_model

from keyneurons.lesion.reading import Continuation, embedding_layer, read_continuations
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_perplexity_is_that_of_the_loss_and_embeddings_are_hidden_states(tmp_path, kind) -> None:
    model = LanguageModel(LocalModel(save_tiny_model(tmp_path / "model", kind), tmp_path).fetch(), device="cpu")
    draw = np.random.default_rng(0)
    texts = [
        Continuation((1, *draw.integers(4, 300, size).tolist()), tuple(draw.integers(4, 300, new).tolist()))
        for size, new in [(1, 5), (4, 1), (9, 12), (2, 5)]
    ]
    readings = read_continuations(model, [*texts, texts[0]], batch_tokens=30)
    assert readings.tokens.tolist() == [5, 1, 12, 5, 5]
    assert readings.bits[4] == readings.bits[0]
    for text, bits, tokens, embedding in zip(texts, readings.bits, readings.tokens, readings.embeddings, strict=False):
        ids = torch.tensor([[*text.prompt, *text.new]])
        labels = ids.clone()
        labels[0, : len(text.prompt)] = -100
        with torch.no_grad():
            output = model.predictor.whole(ids, labels=labels, output_hidden_states=True)
        assert 2 ** (bits / tokens) == pytest.approx(math.exp(output.loss), rel=1e-4)
        states = output.hidden_states[embedding_layer(model) + 1][0, len(text.prompt) :]
        np.testing.assert_allclose(embedding, states.mean(dim=0).numpy(), atol=1e-5)
    assert embedding_layer(model) == 2
