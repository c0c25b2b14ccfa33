"""Copies of activations in host memory, in buffers that later batches reuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Streams(Protocol):
    """Copies to host memory that run beside the computation."""

    def copy(self, buffer: Tensor, value: Tensor) -> None:
        """Start a copy."""
        ...

    def mark(self) -> Callable[[], None]:
        """A function that waits for all copies started so far."""
        ...


class CopyStreams:
    """One stream of copies for each GPU, since a model may be spread over several.

    A copy waits for the kernels that compute its value; no kernel waits for a copy. The memory of
    the value is not reused before the copy has run (``record_stream``), although the compute stream
    frees it at once.
    """

    def __init__(self) -> None:
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def copy(self, buffer: Tensor, value: Tensor) -> None:
        """Start a copy into pinned memory."""
        if value.device.type == "cpu":  # of a model that is partly on the CPU
            buffer.copy_(value)
            return
        if value.device not in self._streams:
            self._streams[value.device] = torch.cuda.Stream(value.device)  # type: ignore[no-untyped-call]
        stream = self._streams[value.device]
        stream.wait_stream(torch.cuda.current_stream(value.device))
        with torch.cuda.stream(stream):
            buffer.copy_(value, non_blocking=True)
        value.record_stream(stream)

    def mark(self) -> Callable[[], None]:
        """A function that waits for all copies started so far."""
        events = [stream.record_event() for stream in self._streams.values()]

        def wait() -> None:
            for event in events:
                event.synchronize()

        return wait


class HostCopies:
    """Copies the values of one batch after the other into buffers of the host.

    Fresh memory would cost more than the copy: on a CPU its pages are mapped on first use, and for
    a GPU it must be pinned. So a few sets of buffers take turns, and the i-th copy of a batch uses
    the i-th buffer of its set, as layers are always computed in the same order. With ``ahead``
    batches computed before they are used, a set is reused when ``ahead`` + 2 batches have been
    started after it: the copies of a batch are valid until the user asks for the second batch after
    it. A device therefore never waits for the host.
    """

    def __init__(self, rows: int, streams: Streams | None = None, *, pinned: bool = False) -> None:
        """Make empty sets; buffers are allocated by the first copies.

        Args:
            rows: the largest number of rows of a batch.
            streams: copies beside the computation, one batch ahead; None copies at once.
            pinned: whether the memory is page-locked, for asynchronous copies from a GPU.
        """
        self.ahead = int(streams is not None)
        self._rows = rows
        self._streams = streams
        self._pinned = pinned
        self._sets: Sequence[list[Tensor]] = [[] for _ in range(self.ahead + 2)]
        self._started = 0
        self._copied = 0
        self._scratch: dict[tuple[int, torch.dtype], Tensor] = {}

    @classmethod
    def of(cls, device: torch.device, rows: int) -> HostCopies:
        """Copies from a device."""
        return cls(rows, CopyStreams(), pinned=True) if device.type == "cuda" else cls(rows)

    def start(self) -> None:
        """Start a batch; the oldest set of buffers becomes free."""
        self._started, self._copied = self._started + 1, 0

    def __call__(self, value: Tensor, dtype: torch.dtype) -> Tensor:
        """The value as ``dtype`` in host memory; with streams it is there after ``mark``."""
        size = self._rows * value.shape[1] if value.dim() == 2 else value.numel()
        buffer = self._buffer(size, dtype)[: value.numel()].view(value.shape)
        if self._streams is None:
            return buffer.copy_(value)
        self._streams.copy(buffer, value.to(dtype))  # converted on the device: fewer bytes to copy
        return buffer

    def mark(self) -> Callable[[], None]:
        """A function that waits for the copies of the batch."""
        return (lambda: None) if self._streams is None else self._streams.mark()

    def scratch(self, rows: int, like: Tensor) -> Tensor | None:
        """Memory for a value on a CPU that is copied before the next one is made; None on a GPU."""
        if like.device.type != "cpu":
            return None
        key = like.shape[-1], like.dtype
        if key not in self._scratch:
            self._scratch[key] = torch.empty(self._rows, key[0], dtype=key[1])
        return self._scratch[key][:rows]

    def _buffer(self, size: int, dtype: torch.dtype) -> Tensor:
        buffers = self._sets[self._started % len(self._sets)]
        if self._copied == len(buffers):
            buffers.append(torch.empty(size, dtype=dtype, pin_memory=self._pinned))
        self._copied += 1
        return buffers[self._copied - 1]
