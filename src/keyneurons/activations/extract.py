"""Forward passes over the text, in batches of equal budget, and the activations of every word."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.capture import Capture
from keyneurons.records import Site

_OVERFLOW = {torch.float16: 65520.0}  # and above it rounds to infinity


@dataclass(frozen=True)
class Batch:
    """Sentences that go through the model together.

    ``rows`` are the rows of their words in the activation array; ``tokens`` the positions to read, in the batch
    flattened to ``[sentences x tokens]``, ``owner`` the word of each and ``counts`` how many each word has.
    """

    ids: Int[Tensor, "sentences tokens"]
    mask: Int[Tensor, "sentences tokens"]
    rows: Int[ndarray, " words"]
    tokens: Int[Tensor, " read"]
    owner: Int[Tensor, " read"]
    counts: Int[Tensor, " words"]

    def inputs(self, device: torch.device, *, causal: bool = False) -> dict[str, Any]:
        """Arguments of the model's forward. Padding on the left shifts the positions, which are then given.

        A ``causal`` model never sees padding on the right, so it gets no mask, and its faster attention.
        """
        pad_left = not bool(self.mask[:, 0].all())
        inputs = {"input_ids": _sent(self.ids, device), "use_cache": False}
        if pad_left or not causal:
            inputs["attention_mask"] = mask = _sent(self.mask, device)
            if pad_left:
                inputs["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)
        return inputs

    def read(self, hidden: Float[Tensor, "sentences tokens neurons"]) -> Float[Tensor, "words neurons"]:
        """The activation of every word: that of its one token, or the mean over its tokens in float32."""
        flat = hidden.flatten(0, 1)
        values = flat.index_select(0, self.tokens.to(flat.device))
        if len(self.tokens) == len(self.counts):
            return values
        total = torch.zeros(len(self.counts), flat.shape[1], device=flat.device)
        total.index_add_(0, self.owner.to(flat.device), values.float())
        return total / self.counts.to(flat.device)[:, None]

    def on(self, device: torch.device) -> Batch:
        """The same with the positions to read on a device."""
        tokens, owner, counts = (_sent(tensor, device) for tensor in (self.tokens, self.owner, self.counts))
        return replace(self, tokens=tokens, owner=owner, counts=counts)


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy on the device that a GPU fetches while this process goes on."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


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


def rows_of(encoded: Sequence[Encoded], plan: Sequence[Sequence[int]]) -> list[Int[ndarray, " _"]]:
    """The rows of the words of every batch of a plan, in the order in which ``extract`` yields them."""
    starts = np.concatenate([[0], np.cumsum([len(e.reads) for e in encoded])])
    return [np.concatenate([np.arange(starts[i], starts[i + 1]) for i in chosen]) for chosen in plan]


def make_batch(encoded: Sequence[Encoded], first_rows: Sequence[int], pad_left: bool) -> Batch:
    """Pad some sentences to one length; ``first_rows`` gives the row of each sentence's first word."""
    width = max(len(e.ids) for e in encoded)
    ids = torch.zeros(len(encoded), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    rows, spans = [], []
    for i, e in enumerate(encoded):
        start = width - len(e.ids) if pad_left else 0
        ids[i, start : start + len(e.ids)] = torch.tensor(e.ids)
        mask[i, start : start + len(e.ids)] = 1
        rows.append(np.arange(first_rows[i], first_rows[i] + len(e.reads)))
        spans.append(np.array(e.reads, dtype=np.int64).reshape(-1, 2) + i * width + start)
    first, last = np.concatenate(spans).T
    counts = last - first + 1
    owner = np.repeat(np.arange(len(counts)), counts)
    tokens = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    return Batch(ids, mask, np.concatenate(rows), *map(torch.from_numpy, (tokens, owner, counts)))


@dataclass(frozen=True)
class Taken:
    """What is kept of one layer for the words of one batch, and the least and the largest value before conversion."""

    values: Float[Tensor, "words neurons"]
    extent: Float[Tensor, 2] | None

    def check(self, what: str) -> Float[Tensor, "words neurons"]:
        """The values.

        Raises:
            ValueError: one of them is not finite.
        """
        if self.extent is None:
            return self.values
        most = float(self.extent.abs().max())  # NaN if there is one
        if math.isfinite(most) and most < _OVERFLOW.get(self.values.dtype, math.inf):
            return self.values
        neuron = int((~self.values.isfinite()).any(0).nonzero()[0])
        dtype = str(self.values.dtype).removeprefix("torch.")
        cause = f"too large for {dtype}; use activations.dtype=float32" if math.isfinite(most) else "not finite"
        raise ValueError(f"activation of {what} neuron {neuron} is {cause}")


def extract(
    encoded: Sequence[Encoded],
    plan: Sequence[Sequence[int]],
    reading: Capture,
    device: torch.device,
    dtype: torch.dtype,
    *,
    causal: bool,
    pad_left: bool = False,
    to_cpu: bool = True,
) -> Iterator[tuple[Int[ndarray, " words"], Mapping[Site, Mapping[int, Taken]]]]:
    """Run text through the model once.

    A GPU is one batch ahead of what is yielded: it computes while the CPU writes, and nothing waits in between.

    Args:
        encoded: all sentences in dataset order.
        plan: which of them go through the model together, batch by batch.
        reading: the hooked model.
        device: where the inputs go.
        dtype: number format of what is kept.
        causal: whether a token sees only those before it.
        pad_left: pad on the left, as some tokenizers ask.
        to_cpu: whether what is kept comes to the CPU, or stays where it was computed.

    Yields:
        Rows of the words of one batch and, by site and layer, what is kept of them.
    """
    starts = np.concatenate([[0], np.cumsum([len(e.reads) for e in encoded])])
    ahead = int(to_cpu and device.type == "cuda")
    under_way: deque[tuple[ndarray, dict[Site, dict[int, Taken]], list[torch.cuda.Event]]] = deque()
    for chosen in [*plan, *[None] * ahead]:
        if chosen is not None:
            batch = make_batch([encoded[i] for i in chosen], [int(starts[i]) for i in chosen], pad_left).on(device)
            used: set[torch.device] = set()  # a model may be spread over several GPUs
            taken = reading(batch.inputs(device, causal=causal), partial(_take, batch, dtype, to_cpu, used))
            marks = [torch.cuda.current_stream(gpu).record_event() for gpu in used if gpu.type == "cuda"]
            under_way.append((batch.rows, taken, marks))
        if len(under_way) > ahead or chosen is None:
            rows, kept, marks = under_way.popleft()
            for mark in marks:
                mark.synchronize()
            yield rows, kept


def _take(batch: Batch, dtype: torch.dtype, to_cpu: bool, used: set[torch.device], hidden: Tensor) -> Taken:
    used.add(hidden.device)
    value = batch.read(hidden)
    kept = Taken(value.to(dtype), torch.stack(torch.aminmax(value)) if value.numel() else None)
    if not to_cpu or hidden.device.type == "cpu":
        return kept
    extent = None if kept.extent is None else kept.extent.to("cpu", non_blocking=True)
    return Taken(kept.values.to("cpu", non_blocking=True), extent)  # into pinned memory
