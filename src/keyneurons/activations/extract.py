"""Forward passes over the text, in batches of equal budget, and the activations of every word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded

if TYPE_CHECKING:
    from keyneurons.activations.capture import Capture


@dataclass(frozen=True)
class Batch:
    """Sentences that go through the model together.

    ``rows`` are the rows of their words in the activation array; ``first`` and ``last`` the positions, in the batch
    flattened to ``[sentences x tokens]``, of the first and the last token to read of each word.
    """

    ids: Int[Tensor, "sentences tokens"]
    mask: Int[Tensor, "sentences tokens"]
    rows: Int[ndarray, " words"]
    first: Int[Tensor, " words"]
    last: Int[Tensor, " words"]

    def inputs(self, device: torch.device) -> dict[str, Any]:
        """Arguments of the model's forward. Padding on the left shifts the positions, which are then given."""
        mask = self.mask.to(device)
        inputs = {"input_ids": self.ids.to(device), "attention_mask": mask, "use_cache": False}
        if not bool(self.mask[:, 0].all()):
            inputs["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)
        return inputs


def plan_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Group sentences of similar length so that no batch holds more than ``batch_tokens`` tokens, padding included.

    The longest come first, so that too large a budget fails at once. A sentence longer than the budget stands alone.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for i in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= batch_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def make_batch(encoded: Sequence[Encoded], first_rows: Sequence[int], pad_left: bool) -> Batch:
    """Pad some sentences to one length; ``first_rows`` gives the row of each sentence's first word."""
    width = max(len(e.ids) for e in encoded)
    ids = torch.zeros(len(encoded), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    rows, first, last = [], [], []
    for i, e in enumerate(encoded):
        start = width - len(e.ids) if pad_left else 0
        ids[i, start : start + len(e.ids)] = torch.tensor(e.ids)
        mask[i, start : start + len(e.ids)] = 1
        origin = i * width + start
        rows.append(np.arange(first_rows[i], first_rows[i] + len(e.reads)))
        first += [origin + a for a, _ in e.reads]
        last += [origin + b for _, b in e.reads]
    return Batch(
        ids, mask, np.concatenate(rows), torch.tensor(first, dtype=torch.long), torch.tensor(last, dtype=torch.long)
    )


def read_words(hidden: Float[Tensor, "sentences tokens neurons"], batch: Batch) -> Float[Tensor, "words neurons"]:
    """The activation of every word: that of its one token, or the mean over its tokens in float32."""
    flat = hidden.flatten(0, 1)
    first, last = batch.first.to(flat.device), batch.last.to(flat.device)
    if torch.equal(batch.first, batch.last):
        return flat[last]
    lengths = last - first + 1
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=flat.device), lengths)
    offset = torch.arange(len(owner), device=flat.device) - (lengths.cumsum(0) - lengths)[owner]
    total = torch.zeros(len(lengths), flat.shape[1], device=flat.device)
    total.index_add_(0, owner, flat[first[owner] + offset].float())
    return total / lengths[:, None]


def extract(
    encoded: Sequence[Encoded],
    plan: Sequence[Sequence[int]],
    reading: Capture,
    device: torch.device,
    *,
    pad_left: bool = False,
) -> Iterator[tuple[Int[ndarray, " words"], Mapping[int, Tensor]]]:
    """Run text through the model once.

    Args:
        encoded: all sentences in dataset order.
        plan: which of them go through the model together, batch by batch.
        reading: the hooked model.
        device: where the inputs go.
        pad_left: pad on the left, as some tokenizers ask.

    Yields:
        Rows of the words of one batch and, by layer, their activations ``[words, neurons]``.
    """
    starts = np.concatenate([[0], np.cumsum([len(e.reads) for e in encoded])])
    for chosen in plan:
        batch = make_batch([encoded[i] for i in chosen], [int(starts[i]) for i in chosen], pad_left)
        held = reading(**batch.inputs(device))
        yield batch.rows, {layer: read_words(hidden, batch) for layer, hidden in held.items()}
