"""How many words and copies go through the model together, from what one of them is seen to hold."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, UntypedStorage

from keyneurons.attribution.gradients import Differentiator
from keyneurons.attribution.paths import AttributionPath
from keyneurons.attribution.recording import Recording

HEADROOM = 1.5  # forward temporaries and gradients on their way, beside what is saved for the backward pass
HEAD_SHARE = 0.25  # of the budget, for logits
LOGIT_COPIES = 4  # logits, their exponentials and two gradients


@dataclass(frozen=True)
class Batching:
    """So many words at a time, so many copies of each, and the bytes that this is estimated to take."""

    words: int
    copies: int
    estimate: int


def head_rows(budget_bytes: int, vocabulary: int) -> int:
    """Positions whose logits are held at a time."""
    return max(1, int(HEAD_SHARE * budget_bytes) // (LOGIT_COPIES * 4 * vocabulary))


def batching(budget_bytes: int, path: AttributionPath, differentiate: Differentiator, recording: Recording) -> Batching:
    """Plan batches by trying the deepest pass on the first word of a recording.

    Args:
        budget_bytes: what a batch may take.
        path: what is to be computed.
        differentiate: how.
        recording: of the longest sentence, alone.

    Returns:
        The largest batch that fits.

    Raises:
        ValueError: If not even one copy of one word does.
    """
    further = max(2, path.copies // 2)
    one, several = (_held_bytes(path, differentiate, recording, copies) for copies in (1, 1 + further))
    each = (several - one) / further
    of_copy = max(1, int(HEADROOM * each))
    recorded = sum(kept.nbytes for call in recording.calls for kept in call.kept)
    of_word = recorded + _passing_bytes(recording, differentiate) + int(HEADROOM * max(0.0, one - each))
    room = int((1 - HEAD_SHARE) * budget_bytes)
    words = room // (of_word + path.copies * of_copy)
    copies = path.copies if words else (room - of_word) // of_copy
    if copies < 1:
        least = int((of_word + of_copy) / (1 - HEAD_SHARE) / 2**20) + 1
        raise ValueError(f"activations.memory_mb must be at least {least} for one word, got {budget_bytes // 2**20}")
    words = max(1, words)
    return Batching(words, copies, words * (of_word + copies * of_copy))


def _passing_bytes(recording: Recording, differentiate: Differentiator) -> int:
    """Bytes that the recording pass holds at a time: gate, up and product of a feed-forward block, hidden states."""
    config, hidden = differentiate.predictor.base.config, recording.final.shape[1]
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    return recording.calls[0].keys.shape[2] * (3 * inner + 4 * hidden) * recording.final.element_size()


def _held_bytes(path: AttributionPath, differentiate: Differentiator, recording: Recording, copies: int) -> int:
    """Bytes that a pass from the lowest layer keeps for its way back, each piece of memory counted once."""
    pieces: dict[int, UntypedStorage] = {}  # held, lest memory that is freed and used again counts as the same

    def seen(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        pieces[storage.data_ptr()] = storage
        return value

    word = slice(0, 1)
    layers = list(recording.activations) if path.together else [min(recording.activations)]
    own = {layer: recording.activations[layer][word][:, None].repeat(1, copies, 1) for layer in layers}
    with torch.autograd.graph.saved_tensors_hooks(seen, lambda value: value):
        differentiate.run(recording, word, dict.fromkeys(layers) if path.copies == 1 else own, copies)
    weights = {weight.untyped_storage().data_ptr() for weight in differentiate.predictor.base.parameters()}
    saved = sum(storage.nbytes() for place, storage in pieces.items() if place not in weights)
    return saved + 2 * sum(each.nbytes for each in own.values())  # activations and their gradients
