"""Batch sizes of attribution, from the measured memory of one word and one copy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, UntypedStorage

from keyneurons.attribution.gradients import Differentiator
from keyneurons.attribution.paths import AttributionPath
from keyneurons.attribution.recording import Recording

HEADROOM = 1.5  # factor for forward temporaries and gradients beyond the saved tensors
HEAD_SHARE = 0.25  # share of the budget for logits
LOGIT_COPIES = 4  # logits, their exponentials and two gradients


@dataclass(frozen=True)
class Batching:
    """Number of words per batch and of copies per word, and the estimated memory in bytes."""

    words: int
    copies: int
    estimate: int


def head_rows(budget_bytes: int, vocabulary: int) -> int:
    """Number of positions whose logits are computed at a time."""
    return max(1, int(HEAD_SHARE * budget_bytes) // (LOGIT_COPIES * 4 * vocabulary))


def batching(budget_bytes: int, path: AttributionPath, differentiate: Differentiator, recording: Recording) -> Batching:
    """Choose batch sizes from a trial of the deepest pass on the first word of a recording.

    Args:
        budget_bytes: memory budget of a batch.
        path: the attribution path.
        differentiate: computes targets and gradients.
        recording: recording of the longest sentence alone.

    Returns:
        The largest batch that fits.

    Raises:
        ValueError: If one copy of one word does not fit.
    """
    further = max(2, path.copies // 2)
    one, several = (_saved_bytes(path, differentiate, recording, copies) for copies in (1, 1 + further))
    each = (several - one) / further
    of_copy = max(1, int(HEADROOM * each))
    recorded = sum(tensor.nbytes for call in recording.calls for tensor in call.kept)
    of_word = recorded + _recording_bytes(recording, differentiate) + int(HEADROOM * max(0.0, one - each))
    room = int((1 - HEAD_SHARE) * budget_bytes)
    words = room // (of_word + path.copies * of_copy)
    copies = path.copies if words else (room - of_word) // of_copy
    if copies < 1:
        least = int((of_word + of_copy) / (1 - HEAD_SHARE) / 2**20) + 1
        raise ValueError(f"activations.memory_mb must be at least {least} for one word, got {budget_bytes // 2**20}")
    words = max(1, words)
    return Batching(words, copies, words * (of_word + copies * of_copy))


def _recording_bytes(recording: Recording, differentiate: Differentiator) -> int:
    """Peak memory of the recording pass: feed-forward gate, up and product, and hidden states."""
    config, hidden = differentiate.predictor.base.config, recording.final.shape[1]
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    return recording.calls[0].keys.shape[2] * (3 * inner + 4 * hidden) * recording.final.element_size()


def _saved_bytes(path: AttributionPath, differentiate: Differentiator, recording: Recording, copies: int) -> int:
    """Memory that a pass from the lowest layer saves for its backward pass, without duplicates."""
    storages: dict[int, UntypedStorage] = {}  # referenced, so that no address is reused

    def save(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        storages[storage.data_ptr()] = storage
        return value

    word = slice(0, 1)
    layers = list(recording.activations) if path.together else [min(recording.activations)]
    own = {layer: recording.activations[layer][word][:, None].repeat(1, copies, 1) for layer in layers}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(save, lambda value: value):
        differentiate.run(recording, word, dict.fromkeys(layers) if path.copies == 1 else own, copies)
    weights = {weight.untyped_storage().data_ptr() for weight in differentiate.predictor.base.parameters()}
    saved = sum(storage.nbytes() for address, storage in storages.items() if address not in weights)
    return saved + 2 * sum(each.nbytes for each in own.values())  # activations and their gradients
