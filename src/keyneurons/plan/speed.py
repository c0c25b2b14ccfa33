"""Speed of forward passes on this machine, from a few timed batches."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.capture import capture
from keyneurons.activations.extract import extract
from keyneurons.activations.reader import ActivationReader
from keyneurons.models.language_model import LanguageModel
from keyneurons.plan.costs import Passes, forward_flops
from keyneurons.plan.model import PlannedModel, one_block, weights_run
from keyneurons.records import Site

SECONDS = 5.0
"""Time limit of a measurement, after at least two batches."""

BATCHES = 5
"""Maximum number of timed batches, from the longest sentences to the shortest."""


@dataclass(frozen=True)
class Speed:
    """Operations of matrix products per second, or None, and a description of the measurement."""

    flops_per_second: float | None
    description: str


def measure(
    planned: PlannedModel, read: ActivationReader, encoded: Sequence[Encoded], room: Callable[[int | None], bool]
) -> Speed:
    """Time the model itself if it is local and fits, else one block of it with random weights.

    Args:
        planned: the model.
        read: the reading settings.
        encoded: the sentences, with true ids if the tokenizer is local.
        room: whether some blocks of the model (None: all) fit into the memory of its device.

    Returns:
        The speed.
    """
    if planned.on_gpu and not torch.cuda.is_available():
        return Speed(None, "not measured: torch sees no GPU")
    if planned.weights and planned.tokenizer and room(None):
        pad_left = read.model.tokenizer.padding_side == "left"
        rate, batches = _timed(planned.model, read.site, read.layers, encoded, read, pad_left=pad_left)
        return Speed(rate, f"timed on {planned.model.device}: {batches} batches of the model")
    reason = "the model does not fit into memory" if planned.weights else "no local weights"
    if not room(1):
        return Speed(None, f"not measured: {reason}, and a single block does not fit either")
    with tempfile.TemporaryDirectory() as folder:
        block = one_block(planned, Path(folder))
        plain = [Encoded((1,) * len(e.ids), e.reads) for e in encoded]
        rate, batches = _timed(block, "residual", (0,), plain, read, pad_left=False)
    timed = f"{batches} batches of one block with random weights; {reason}"
    return Speed(rate, f"timed on {planned.model.device}: {timed}")


def _timed(
    model: LanguageModel,
    site: Site,
    layers: tuple[int, ...],
    encoded: Sequence[Encoded],
    read: ActivationReader,
    *,
    pad_left: bool,
) -> tuple[float, int]:
    """Operations per second over some batches, and the number of batches."""
    lengths, words = [len(e.ids) for e in encoded], [len(e.reads) for e in encoded]
    plan = read.batches(encoded)
    shortest, *chosen = [plan[i * (len(plan) - 1) // BATCHES] for i in range(BATCHES + 1)][::-1]
    weights, attention = weights_run(model, site, layers), model.width("attention")
    dtype, causal = getattr(torch, read.dtype), model.family.causal
    seconds, flops, batches = 0.0, 0, 0
    with capture(model.network, model.family, {site: layers}) as reading:

        def run(batch: list[int]) -> float:
            started = time.perf_counter()
            deque(extract(encoded, [batch], reading, model.device, dtype, causal=causal, pad_left=pad_left), maxlen=0)
            return time.perf_counter() - started

        run(shortest)  # warm-up
        for batch in chosen:
            seconds += run(batch)
            flops += forward_flops(weights, max(layers) + 1, attention, Passes.of([batch], lengths, words))
            batches += 1
            if seconds > SECONDS and batches > 1:
                break
    return flops / seconds, batches
