"""Arrays on their way into the cache, so kept that an interrupted extraction goes on where it stopped."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.files import write_json

CHECKPOINT_SECONDS = 2.0
PROGRESS = "progress.json"
SHARES = "progress-{}.json"


class PartialArrays:
    """Arrays that are being filled, and by layer how many steps of the plan are safely on disk.

    ``steps_done`` are the steps that every one of them has behind it.
    """

    def __init__(self, folder: Path, layers: Sequence[int], progress: dict[str, int], file: str = PROGRESS) -> None:
        self.steps_done = min(progress.get(str(layer), 0) for layer in layers)
        self._folder = folder
        self._file = file
        self._arrays = {layer: _ArrayFile(self.path(layer)) for layer in layers}
        self._progress = progress
        self._steps_written = self.steps_done
        self._saved_at = time.monotonic()

    @classmethod
    def open(cls, folder: Path, layers: Sequence[int], shape: tuple[int, int], dtype: str) -> PartialArrays:
        """Continue what lies in ``folder``; what does not, is started with the disk space for all of it reserved."""
        folder.mkdir(parents=True, exist_ok=True)
        progress = _read_progress(folder / PROGRESS)
        new = [i for i in layers if str(i) not in progress or not _is_whole(folder / f"{i}.npy", shape, dtype)]
        progress = {layer: steps for layer, steps in progress.items() if layer not in map(str, new)}
        # before the arrays, lest a new one pass for the one whose steps were counted
        write_json(folder / PROGRESS, progress)
        for share in folder.glob(SHARES.format("*")) if new else ():
            share.unlink()
        for layer in new:
            _reserve(folder / f"{layer}.npy", shape, dtype)
        return cls(folder, layers, progress)

    @classmethod
    def share(cls, folder: Path, layers: Sequence[int], rank: int) -> PartialArrays:
        """Fill arrays that another process has opened together with others; every one counts its own steps."""
        file = SHARES.format(rank)
        return cls(folder, layers, _read_progress(folder / file), file)

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self._folder

    def path(self, layer: int) -> Path:
        """Where a layer's array lies for now."""
        return self._folder / f"{layer}.npy"

    def go_on_from(self, steps: int) -> None:
        """Go on from an earlier step than the last one done, as other arrays of the same pass must."""
        self.steps_done = self._steps_written = steps

    def put(self, rows: Int[ndarray, " rows"], values: Mapping[int, ndarray]) -> None:
        """Write one step of the plan: some rows of every layer."""
        for layer, block in values.items():
            self._arrays[layer].put(rows, block)
        self._steps_written += 1
        if time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Bring everything written so far to the disk, then say so."""
        for layer, array in self._arrays.items():
            array.to_disk()
            self._progress[str(layer)] = max(self._steps_written, self._progress.get(str(layer), 0))
        write_json(self._folder / self._file, self._progress)
        self._saved_at = time.monotonic()

    def close(self) -> None:
        """Close the files."""
        for array in self._arrays.values():
            array.close()


class _ArrayFile:
    """A ``.npy`` file whose rows are written in any order.

    Not by a memory map: writing to scattered rows of one faults every page in, and they count as this process's memory.
    """

    def __init__(self, path: Path) -> None:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        self._first, self._row_bytes, self._dtype = array.offset, array.strides[0], array.dtype
        self._file = path.open("r+b", buffering=0)

    def put(self, rows: Int[ndarray, " rows"], block: ndarray) -> None:
        block = np.ascontiguousarray(block, self._dtype)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)  # the words of a sentence lie side by side
        for first, end in itertools.pairwise([*starts, len(rows)]):
            self._file.seek(self._first + int(rows[first]) * self._row_bytes)
            left = block[first:end].data.cast("B")
            while left:
                left = left[self._file.write(left) :]

    def to_disk(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _read_progress(path: Path) -> dict[str, int]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _is_whole(path: Path, shape: tuple[int, int], dtype: str) -> bool:
    """Whether the array at ``path`` is there and of this shape."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return False
    return (found.shape, found.dtype) == (shape, np.dtype(dtype))


def _reserve(path: Path, shape: tuple[int, int], dtype: str) -> None:
    """A new array file whose space is allocated at once: a full disk is told before the passes over the text.

    Raises:
        OSError: there is no space.
    """
    np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        size = path.stat().st_size
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                raise OSError(error.errno, f"{error.strerror}; {size:,} bytes are needed", str(path)) from error
