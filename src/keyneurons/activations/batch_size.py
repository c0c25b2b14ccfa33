"""The number of tokens per forward pass, by device."""

from __future__ import annotations

from typing import Literal

import torch

from keyneurons.models.language_model import LanguageModel

ON_CPU = 1024
"""Enough to occupy the cores; larger batches need more memory and are not faster."""

ON_GPU = 16384
"""The most on a GPU: its matrix units are occupied."""

SHARE = 0.25
"""Share of a GPU's memory for the values of one batch; the rest is for the weights."""


def tokens_per_batch(setting: int | Literal["auto"], model: LanguageModel) -> int:
    """Resolve ``activations.batch_tokens``.

    ``auto`` depends on the model and the card, not on the memory that is free at the moment, so
    that an interrupted extraction resumes with the same batches. Batches change activations only by
    rounding in the number format of the model, so they are not part of the cache key.
    """
    if setting != "auto":
        return setting
    if model.device.type != "cuda" or not torch.cuda.is_available():
        return ON_CPU
    item = getattr(torch, model.dtype).itemsize
    token = model.n_layers * (model.width("residual") + model.width("mlp")) * item
    return gpu_tokens(torch.cuda.get_device_properties(model.device).total_memory, token)


def gpu_tokens(memory: int, token: int) -> int:
    """Tokens per batch for a GPU: a power of two within ``ON_CPU`` and ``ON_GPU``.

    Args:
        memory: bytes of the GPU.
        token: bytes of the activations of one token at all layers and both main sites; a batch may
            hold as many while they wait to be copied.
    """
    tokens = ON_CPU
    while 2 * tokens <= min(ON_GPU, SHARE * memory / token):
        tokens *= 2
    return tokens
