"""Unfinished arrays of the cache, with the progress that lets an extraction resume."""

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
class Progress:
    """Steps of the plan that are on disk, and the CRC-32 of their rows in the order of the plan."""

    steps: int = 0
    crc: int = 0


class PartialArrays:
    """Unfinished arrays with the progress of each layer.

    ``steps_done`` is the number of steps that all layers have completed.
    """

    def __init__(
        self, folder: Path, layers: Sequence[int], progress: dict[str, Progress], file: str = PROGRESS
    ) -> None:
        self.steps_done = min(progress.get(str(layer), Progress()).steps for layer in layers)
        self._folder = folder
        self._file = file
        self._arrays = {layer: _ArrayFile(self.path(layer)) for layer in layers}
        self._progress = progress
        self._steps_written = self.steps_done
        self._crc = dict.fromkeys(layers, 0)
        self._saved_at = time.monotonic()

    @classmethod
    def open(cls, folder: Path, layers: Sequence[int], shape: tuple[int, int], dtype: str) -> PartialArrays:
        """Open the arrays in ``folder``; missing ones are created, with disk space reserved."""
        folder.mkdir(parents=True, exist_ok=True)
        progress = _read_progress(folder / PROGRESS)
        new = [i for i in layers if str(i) not in progress or not _is_whole(folder / f"{i}.npy", shape, dtype)]
        progress = {layer: done for layer, done in progress.items() if layer not in map(str, new)}
        # before the arrays, so that a new array never inherits the progress of an old one
        write_json(folder / PROGRESS, {layer: asdict(done) for layer, done in progress.items()})
        for share in folder.glob(SHARES.format("*")) if new else ():
            share.unlink()
        for layer in new:
            _reserve(folder / f"{layer}.npy", shape, dtype)
        return cls(folder, layers, progress)

    @classmethod
    def open_shared(cls, folder: Path, layers: Sequence[int], rank: int) -> PartialArrays:
        """Open arrays that several processes fill; each process records its own progress."""
        file = SHARES.format(rank)
        return cls(folder, layers, _read_progress(folder / file), file)

    @property
    def folder(self) -> Path:
        """Folder of the unfinished arrays."""
        return self._folder

    def path(self, layer: int) -> Path:
        """Path of a layer's unfinished array."""
        return self._folder / f"{layer}.npy"

    def intact(self, rows: Sequence[Int[ndarray, " _"]]) -> bool:
        """Whether every array matches its recorded CRC-32; ``rows`` are those of each step."""
        progress = {layer: self._progress.get(str(layer), Progress()) for layer in self._arrays}
        return all(
            done.steps <= len(rows) and self._arrays[layer].crc(rows[: done.steps]) == done.crc
            for layer, done in progress.items()
        )

    def resume_from(self, rows: Sequence[Int[ndarray, " _"]]) -> None:
        """Resume after some steps of the plan, given the rows of each; later steps are repeated."""
        self.steps_done = self._steps_written = len(rows)
        for layer, array in self._arrays.items():
            self._crc[layer] = array.crc(rows)
            self._progress[str(layer)] = Progress(len(rows), self._crc[layer])
        self._save()

    def put(self, rows: Int[ndarray, " rows"], values: Mapping[int, ndarray]) -> None:
        """Write one step of the plan: the same rows of every layer."""
        for layer, block in values.items():
            self._crc[layer] = self._arrays[layer].put(rows, block, self._crc[layer])
        self._steps_written += 1
        if time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Flush all arrays to the disk, then record the progress."""
        for layer, array in self._arrays.items():
            array.to_disk()
            self._progress[str(layer)] = Progress(self._steps_written, self._crc[layer])
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

    Rows are written to the file, not to a memory map: scattered writes to a map load every page,
    which counts as memory of the process.
    """

    def __init__(self, path: Path) -> None:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        self._first, self._row_bytes, self._dtype = array.offset, array.strides[0], array.dtype
        self._array = array
        self._path = path
        self._file = path.open("r+b", buffering=0)

    def put(self, rows: Int[ndarray, " rows"], block: ndarray, crc: int) -> int:
        """Write some rows; ``crc`` is the CRC-32 of all rows before, the result includes these."""
        block = np.ascontiguousarray(block, self._dtype)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)  # words of a sentence have adjacent rows
        with naming(self._path, self._array.nbytes):
            for first, end in itertools.pairwise([*starts, len(rows)]):
                at, left = self._first + int(rows[first]) * self._row_bytes, block[first:end].data.cast("B")
                while left:
                    written = os.pwrite(self._file.fileno(), left, at)
                    at, left = at + written, left[written:]
        return _crc(block, crc)

    def crc(self, steps: Sequence[Int[ndarray, " _"]]) -> int:
        """The CRC-32 of the rows of some steps, read from the file."""
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


def _read_progress(path: Path) -> dict[str, Progress]:
    """The recorded progress by layer, empty if the file is missing or damaged."""
    try:
        check_regular(path)
        layers = json.loads(path.read_text(encoding="utf-8"))
        return {str(layer): Progress(int(done["steps"]), int(done["crc"])) for layer, done in layers.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _is_whole(path: Path, shape: tuple[int, int], dtype: str) -> bool:
    """Whether ``path`` is a readable array of this shape and number format."""
    try:
        check_regular(path)
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return False
    return (array.shape, array.dtype) == (shape, np.dtype(dtype))


def _reserve(path: Path, shape: tuple[int, int], dtype: str) -> None:
    """Create an array file and allocate its space, so that a full disk raises before extraction."""
    with naming(path, math.prod(shape) * np.dtype(dtype).itemsize):
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
