"""Forward passes over a text in batches of equal token budget, yielding activations of words."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from keyneurons.activations.host_copies import HostCopies
from keyneurons.records import Site

_OVERFLOW = {torch.float16: 65520.0}  # values from here on round to infinity


@dataclass(frozen=True)
class Batch:
    """Sentences of one forward pass.

    ``rows`` are the rows of their words in the activation array; ``tokens`` the positions to read
    in the batch flattened to ``[sentences x tokens]``, ``owner`` the word of each position, and
    ``counts`` the number of positions of each word.
    """

    ids: Int[Tensor, "sentences tokens"]
    mask: Int[Tensor, "sentences tokens"]
    rows: Int[ndarray, " words"]
    tokens: Int[Tensor, " read"]
    owner: Int[Tensor, " read"]
    counts: Int[Tensor, " words"]

    def inputs(self, device: torch.device, *, causal: bool = False) -> dict[str, Any]:
        """Arguments of the model's forward; position ids are included under left padding.

        A ``causal`` model never attends to right padding, so it needs no mask and uses its faster
        attention.
        """
        pad_left = not bool(self.mask[:, 0].all())
        inputs = {"input_ids": _sent(self.ids, device), "use_cache": False}
        if pad_left or not causal:
            inputs["attention_mask"] = mask = _sent(self.mask, device)
            if pad_left:
                inputs["position_ids"] = (mask.cumsum(1) - 1).clamp_min(0)
        return inputs

    def read(
        self, hidden: Float[Tensor, "sentences tokens neurons"], out: Float[Tensor, "words neurons"] | None = None
    ) -> Float[Tensor, "words neurons"]:
        """The activation of every word: of its one position, or the float32 mean over several.

        ``out`` is memory for the activations of words with one position each.
        """
        flat, tokens = hidden.flatten(0, 1), self.tokens.to(hidden.device)
        if len(self.tokens) == len(self.counts):
            return torch.index_select(flat, 0, tokens, out=out)
        total = torch.zeros(len(self.counts), flat.shape[1], device=flat.device)
        total.index_add_(0, self.owner.to(flat.device), flat.index_select(0, tokens).float())
        return total / self.counts.to(flat.device)[:, None]

    def on(self, device: torch.device) -> Batch:
        """The batch with the positions to read on a device."""
        tokens, owner, counts = (_sent(tensor, device) for tensor in (self.tokens, self.owner, self.counts))
        return replace(self, tokens=tokens, owner=owner, counts=counts)


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy on the device, made asynchronously on a GPU."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def plan_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Group sentences of similar length into batches of at most ``batch_tokens`` padded tokens.

    The longest come first, so that too large a budget fails at once. A sentence longer than the
    budget is a batch of its own.
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
    """The rows of the words of every batch of a plan, in the order of ``extract``."""
    starts = np.concatenate([[0], np.cumsum([len(e.reads) for e in encoded])])
    return [np.concatenate([np.arange(starts[i], starts[i + 1]) for i in batch]) for batch in plan]


def make_batch(encoded: Sequence[Encoded], first_rows: Sequence[int], pad_left: bool) -> Batch:
    """Pad sentences to one length; ``first_rows`` has the row of each sentence's first word."""
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
    """A layer's activations of the words of one batch, and their extremes before conversion."""

    values: Float[Tensor, "words neurons"]
    extent: Float[Tensor, 2] | None

    def check(self, place: str) -> Float[Tensor, "words neurons"]:
        """The values, checked to be finite; ``place`` names site and layer in the error.

        Raises:
            ValueError: a value is not finite.
        """
        if self.extent is None:
            return self.values
        most = float(self.extent.abs().max())  # NaN if any value is NaN
        if math.isfinite(most) and most < _OVERFLOW.get(self.values.dtype, math.inf):
            return self.values
        neuron = int((~self.values.isfinite()).any(0).nonzero()[0])
        dtype = str(self.values.dtype).removeprefix("torch.")
        cause = f"too large for {dtype}; use activations.dtype=float32" if math.isfinite(most) else "not finite"
        raise ValueError(f"activation of {place} neuron {neuron} is {cause}")


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
    """Run the model once over a text.

    A GPU works one batch ahead of the batch yielded, so it computes while the CPU writes. Copies on
    the CPU share memory with later batches: they are valid until the second batch after them is
    requested.

    Args:
        encoded: all sentences in dataset order.
        plan: the sentence numbers of every batch.
        reading: the hooked model.
        device: device of the inputs.
        dtype: number format of the activations yielded.
        causal: whether a token attends only to earlier tokens.
        pad_left: pad on the left, as some tokenizers require.
        to_cpu: whether activations are copied to the CPU or stay on their device.

    Yields:
        Rows of the words of one batch and, by site and layer, their activations.
    """
    starts = np.concatenate([[0], np.cumsum([len(e.reads) for e in encoded])])
    copies = HostCopies.of(device, max(map(len, rows_of(encoded, plan)), default=0)) if to_cpu else None
    ahead = 0 if copies is None else copies.ahead
    pending: deque[tuple[ndarray, dict[Site, dict[int, Taken]], Callable[[], None] | None]] = deque()
    for numbers in [*plan, *[None] * ahead]:
        if numbers is not None:
            batch = make_batch([encoded[i] for i in numbers], [int(starts[i]) for i in numbers], pad_left).on(device)
            if copies is not None:
                copies.start()
            taken = reading(batch.inputs(device, causal=causal), partial(_take, batch, dtype, copies))
            pending.append((batch.rows, taken, None if copies is None else copies.mark()))
        if len(pending) > ahead or numbers is None:
            rows, kept, wait = pending.popleft()
            if wait is not None:
                wait()
            yield rows, kept


def _take(batch: Batch, dtype: torch.dtype, copies: HostCopies | None, hidden: Tensor) -> Taken:
    memory = None if copies is None else copies.scratch(len(batch.counts), hidden)
    value = batch.read(hidden, memory)
    extent = torch.stack(torch.aminmax(value)) if value.numel() else None
    if copies is None:
        return Taken(value.to(dtype), extent)
    return Taken(copies(value, dtype), None if extent is None else copies(extent, extent.dtype))
