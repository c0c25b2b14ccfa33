"""Speed of forward passes on this machine, from a short trial with the model's matrix shapes."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable
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
from keyneurons.progress import stage

SECONDS = 2.0
"""Length of the trial, after a warm-up; a single batch may take longer."""

SENTENCE = 32
"""Tokens of every sentence of the trial."""


@dataclass(frozen=True)
class Speed:
    """Operations of matrix products per second, or None, and a description of the measurement."""

    flops_per_second: float | None
    description: str


def measure(planned: PlannedModel, read: ActivationReader, room: Callable[[int | None], bool]) -> Speed:
    """Time one block of the model with random weights, which needs none of the model's files.

    Args:
        planned: the model.
        read: the reading settings.
        room: whether some blocks of the model (None: all) fit into the memory of its device.

    Returns:
        The speed.
    """
    if planned.on_gpu and not torch.cuda.is_available():
        return Speed(None, "not measured: torch sees no GPU")
    if not room(1):
        return Speed(None, "not measured: a single block does not fit into memory")
    with stage("timing a block of the model"), tempfile.TemporaryDirectory() as folder:
        rate, tokens = _trial(one_block(planned, Path(folder)), read)
    return Speed(rate, f"measured on {planned.model.device}: one block with random weights, {tokens} tokens per batch")


def _trial(block: LanguageModel, read: ActivationReader) -> tuple[float, int]:
    """Operations per second and tokens of the largest batch timed.

    Batches double from one sentence to those of a run, while the time lasts; the speed is that of
    the largest.
    """
    weights, attention = weights_run(block, "residual", (0,)), block.width("attention")
    sentence = Encoded((1,) * SENTENCE, tuple((i, i) for i in range(SENTENCE)))
    with capture(block.network, block.family, {"residual": (0,)}) as reading:

        def seconds(n: int) -> float:
            encoded, started = [sentence] * n, time.perf_counter()
            batch, dtype = [list(range(n))], getattr(torch, read.dtype)
            passes = extract(encoded, batch, reading, block.device, dtype, causal=block.family.causal, pad_left=False)
            deque(passes, maxlen=0)
            if block.device.type == "cuda":
                torch.cuda.synchronize(block.device)
            return time.perf_counter() - started

        seconds(1)  # warm-up
        n, most, used = 1, max(1, read.batch_tokens // SENTENCE), 0.0
        while True:
            took = seconds(n)
            used += took
            if used + 2 * took > SECONDS or n >= most:
                break
            n = min(most, 2 * n)
        times = [took]
        while used + took <= SECONDS:
            times.append(seconds(n))
            used += times[-1]
    flops = forward_flops(weights, 1, attention, Passes.of([list(range(n))], [SENTENCE] * n, [SENTENCE] * n))
    return flops / sorted(times)[len(times) // 2], n * SENTENCE
