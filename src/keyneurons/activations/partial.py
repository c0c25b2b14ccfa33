"""Arrays on their way into the cache, so kept that an interrupted extraction goes on where it stopped."""

from __future__ import annotations

import itertools
import json
import math
import os
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.atomic_files import check_regular, naming, write_json

CHECKPOINT_SECONDS = 2.0
PROGRESS = "progress.json"
SHARES = "progress-{}.json"


@dataclass(frozen=True)
class Done:
    """How many steps of the plan are on disk, and the CRC-32 of all that they wrote, in the order of the plan."""

    steps: int = 0
    crc: int = 0


class PartialArrays:
    """Arrays that are being filled, and by layer how many steps of the plan are safely on disk.

    ``steps_done`` are the steps that every one of them has behind it.
    """

    def __init__(self, folder: Path, layers: Sequence[int], progress: dict[str, Done], file: str = PROGRESS) -> None:
        self.steps_done = min(progress.get(str(layer), Done()).steps for layer in layers)
        self._folder = folder
        self._file = file
        self._arrays = {layer: _ArrayFile(self.path(layer)) for layer in layers}
        self._progress = progress
        self._steps_written = self.steps_done
        self._crc = dict.fromkeys(layers, 0)
        self._saved_at = time.monotonic()

    @classmethod
    def open(cls, folder: Path, layers: Sequence[int], shape: tuple[int, int], dtype: str) -> PartialArrays:
        """Continue what lies in ``folder``; what does not, is started with the disk space for all of it reserved."""
        folder.mkdir(parents=True, exist_ok=True)
        progress = _read_progress(folder / PROGRESS)
        new = [i for i in layers if str(i) not in progress or not _is_whole(folder / f"{i}.npy", shape, dtype)]
        progress = {layer: done for layer, done in progress.items() if layer not in map(str, new)}
        # before the arrays, lest a new one pass for the one whose steps were counted
        write_json(folder / PROGRESS, {layer: asdict(done) for layer, done in progress.items()})
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

    def intact(self, rows: Sequence[Int[ndarray, " _"]]) -> bool:
        """Whether every array still holds what its steps wrote; ``rows`` are those of each step of the plan."""
        known = {layer: self._progress.get(str(layer), Done()) for layer in self._arrays}
        return all(
            done.steps <= len(rows) and self._arrays[layer].crc(rows[: done.steps]) == done.crc
            for layer, done in known.items()
        )

    def go_on_from(self, rows: Sequence[Int[ndarray, " _"]]) -> None:
        """Go on after some steps of the plan, given the rows of each; what later steps wrote is written again."""
        self.steps_done = self._steps_written = len(rows)
        for layer, array in self._arrays.items():
            self._crc[layer] = array.crc(rows)
            self._progress[str(layer)] = Done(len(rows), self._crc[layer])
        self._save()

    def put(self, rows: Int[ndarray, " rows"], values: Mapping[int, ndarray]) -> None:
        """Write one step of the plan: some rows of every layer."""
        for layer, block in values.items():
            self._crc[layer] = self._arrays[layer].put(rows, block, self._crc[layer])
        self._steps_written += 1
        if time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Bring everything written so far to the disk, then say so."""
        for layer, array in self._arrays.items():
            array.to_disk()
            self._progress[str(layer)] = Done(self._steps_written, self._crc[layer])
        self._save()

    def _save(self) -> None:
        write_json(self._folder / self._file, {layer: asdict(done) for layer, done in self._progress.items()})
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
        self._array = array
        self._path = path
        self._file = path.open("r+b", buffering=0)

    def put(self, rows: Int[ndarray, " rows"], block: ndarray, crc: int) -> int:
        """Write some rows; returns the CRC-32 of all written so far, given that before them."""
        block = np.ascontiguousarray(block, self._dtype)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)  # the words of a sentence lie side by side
        with naming(self._path, self._array.nbytes):
            for first, end in itertools.pairwise([*starts, len(rows)]):
                self._file.seek(self._first + int(rows[first]) * self._row_bytes)
                left = block[first:end].data.cast("B")
                while left:
                    left = left[self._file.write(left) :]
        return _crc(block, crc)

    def crc(self, steps: Sequence[Int[ndarray, " _"]]) -> int:
        """The CRC-32 of the rows that some steps wrote, read again."""
        crc = 0
        for rows in steps:
            crc = _crc(np.ascontiguousarray(self._array[rows]), crc)
        return crc

    def to_disk(self) -> None:
        with naming(self._path, self._array.nbytes):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _crc(block: ndarray, before: int) -> int:
    return zlib.crc32(block.reshape(-1).view(np.uint8).data, before)


def _read_progress(path: Path) -> dict[str, Done]:
    """The steps that are on disk, none where the file is not there or is damaged."""
    try:
        check_regular(path)
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(layer): Done(int(done["steps"]), int(done["crc"])) for layer, done in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _is_whole(path: Path, shape: tuple[int, int], dtype: str) -> bool:
    """Whether the array at ``path`` is there and of this shape."""
    try:
        check_regular(path)
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return False
    return (found.shape, found.dtype) == (shape, np.dtype(dtype))


def _reserve(path: Path, shape: tuple[int, int], dtype: str) -> None:
    """A new array file whose space is allocated at once: a full disk is told before the passes over the text."""
    with naming(path, math.prod(shape) * np.dtype(dtype).itemsize):
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
