"""Arrays on their way into the cache, so kept that an interrupted extraction goes on where it stopped."""

from __future__ import annotations

import json
import mmap
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy import ndarray

from keyneurons.files import write_json

CHECKPOINT_SECONDS = 2.0
HELD_BYTES = 2**25  # written and still mapped into this process
PROGRESS = "progress.json"
SHARES = "progress-{}.json"


class PartialArrays:
    """Arrays that are being filled, and by layer how many steps of the plan are safely on disk.

    ``steps_done`` are the steps that every one of them has behind it.
    """

    def __init__(
        self, folder: Path, arrays: Mapping[int, ndarray], progress: dict[str, int], file: str = PROGRESS
    ) -> None:
        self.steps_done = min(progress.get(str(layer), 0) for layer in arrays)
        self._folder = folder
        self._file = file
        self._arrays = arrays
        self._progress = progress
        self._steps_written = self.steps_done
        self._saved_at = time.monotonic()
        self._held = 0

    @classmethod
    def open(cls, folder: Path, layers: Sequence[int], shape: tuple[int, int], dtype: str) -> PartialArrays:
        """Continue what lies in ``folder``; what does not, is started with the disk space for all of it reserved."""
        folder.mkdir(parents=True, exist_ok=True)
        progress = _read_progress(folder / PROGRESS)
        kept = {
            layer: array
            for layer in layers
            if str(layer) in progress and (array := _reopen(folder / f"{layer}.npy", shape, dtype)) is not None
        }
        new = [layer for layer in layers if layer not in kept]
        progress = {layer: steps for layer, steps in progress.items() if layer not in map(str, new)}
        # before the arrays, lest a new one pass for the one whose steps were counted
        write_json(folder / PROGRESS, progress)
        for share in folder.glob(SHARES.format("*")) if new else ():
            share.unlink()
        return cls(folder, kept | {layer: _reserve(folder / f"{layer}.npy", shape, dtype) for layer in new}, progress)

    @classmethod
    def share(cls, folder: Path, layers: Sequence[int], rank: int) -> PartialArrays:
        """Fill arrays that another process has opened together with others; every one counts its own steps."""
        arrays = {layer: np.load(folder / f"{layer}.npy", mmap_mode="r+", allow_pickle=False) for layer in layers}
        file = SHARES.format(rank)
        return cls(folder, arrays, _read_progress(folder / file), file)

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

    def put(self, rows: ndarray, values: Mapping[int, ndarray]) -> None:
        """Write one step of the plan: some rows of every layer."""
        for layer, block in values.items():
            self._arrays[layer][rows] = block
            self._held += block.nbytes
        self._steps_written += 1
        if self._held > HELD_BYTES:
            self._let_go()
        if time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Bring everything written so far to the disk, then say so."""
        for layer, array in self._arrays.items():
            array.flush()  # type: ignore[attr-defined]
            self._progress[str(layer)] = max(self._steps_written, self._progress.get(str(layer), 0))
        write_json(self._folder / self._file, self._progress)
        self._saved_at = time.monotonic()

    def _let_go(self) -> None:
        """Leave what was written to the system, or this process would grow with the text."""
        for array in self._arrays.values():
            if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
                array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
        self._held = 0


def _read_progress(path: Path) -> dict[str, int]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _reopen(path: Path, shape: tuple[int, int], dtype: str) -> ndarray | None:
    """The array at ``path`` to go on with, or None where it is missing or damaged."""
    try:
        # read-only first: to write, numpy would open a file cut short and fill it up with zeros
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    if (found.shape, found.dtype) != (shape, np.dtype(dtype)):
        return None
    array: ndarray = np.load(path, mmap_mode="r+", allow_pickle=False)
    return array


def _reserve(path: Path, shape: tuple[int, int], dtype: str) -> ndarray:
    """A new array file whose space is allocated at once: writing to a map of a full disk would kill the process."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
