"""The activation cache on disk: whole arrays under a digest, or nothing.

An entry is a folder named after the digest of what the activations depend on. It holds one ``.npy`` per site and layer
and beside it a manifest, written last: an array without its manifest, or whose digest is another, does not count.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import Float
from numpy import ndarray

from keyneurons.digests import file_digest, json_digest
from keyneurons.files import write_json
from keyneurons.records import Site

FORMAT = 1
CHECKPOINT_SECONDS = 2.0


@dataclass(frozen=True)
class Entry:
    """One folder of the cache: the activations of one model on the sentences of one split."""

    folder: Path

    @contextmanager
    def lock(self) -> Generator[None]:
        """Hold the entry: two processes never extract the same thing twice."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            yield

    def load(self, site: Site, layer: int) -> Float[ndarray, "words neurons"] | None:
        """A memory-mapped array ``[words, neurons]``, or None where it is missing or damaged."""
        array, manifest = self._array(site, layer), self._manifest(site, layer)
        try:
            expected = json.loads(manifest.read_text(encoding="utf-8"))["sha256"]
            if file_digest(array) != expected:
                return None
        except (OSError, ValueError, KeyError):
            return None
        os.utime(self.folder)
        loaded: ndarray = np.load(array, mmap_mode="r", allow_pickle=False)
        return loaded

    @contextmanager
    def write(
        self, site: Site, layers: Sequence[int], shape: tuple[int, int], dtype: str, plan: Any
    ) -> Generator[PartialArrays]:
        """Fill arrays for some layers; they become part of the entry when the block ends without an error.

        What an interrupted process with the same layers and the same ``plan`` (any JSON value) has written is kept and
        gone on with.

        Args:
            site: site of the arrays.
            layers: one array each.
            shape: words and neurons of every array.
            dtype: number format of the arrays.
            plan: what the order of writing depends on.

        Yields:
            The arrays under way.
        """
        name = json_digest([site, list(layers), list(shape), dtype, plan])[:16]
        partial = PartialArrays.open(self.folder / f"partial-{name}", layers, shape, dtype)
        yield partial
        partial.checkpoint()
        for layer in layers:
            self._admit(partial.path(layer), site, layer, shape, dtype)
        for leftover in self.folder.glob("partial-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _admit(self, path: Path, site: Site, layer: int, shape: tuple[int, int], dtype: str) -> None:
        digest = file_digest(path)
        self._manifest(site, layer).unlink(missing_ok=True)
        os.replace(path, self._array(site, layer))
        facts = {"format": FORMAT, "site": site, "layer": layer, "shape": shape, "dtype": dtype, "sha256": digest}
        write_json(self._manifest(site, layer), facts)

    def _array(self, site: Site, layer: int) -> Path:
        return self.folder / f"{site}.{layer}.npy"

    def _manifest(self, site: Site, layer: int) -> Path:
        return self.folder / f"{site}.{layer}.json"


class PartialArrays:
    """Arrays that are being filled, and how many steps of the plan are safely on disk."""

    def __init__(self, folder: Path, arrays: Mapping[int, ndarray], steps_done: int) -> None:
        self.steps_done = steps_done
        self._folder = folder
        self._arrays = arrays
        self._steps_written = steps_done
        self._saved_at = time.monotonic()

    @classmethod
    def open(cls, folder: Path, layers: Sequence[int], shape: tuple[int, int], dtype: str) -> PartialArrays:
        """Continue what lies in ``folder``, or start anew with the disk space for all of it reserved."""
        progress = folder / "progress.json"
        if progress.is_file():
            arrays = {layer: np.load(folder / f"{layer}.npy", mmap_mode="r+") for layer in layers}
            return cls(folder, arrays, json.loads(progress.read_text(encoding="utf-8"))["steps"])
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            arrays = {layer: _reserve(folder / f"{layer}.npy", shape, dtype) for layer in layers}
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        write_json(progress, {"steps": 0})
        return cls(folder, arrays, 0)

    def path(self, layer: int) -> Path:
        """Where a layer's array lies for now."""
        return self._folder / f"{layer}.npy"

    def put(self, rows: ndarray, values: Mapping[int, ndarray]) -> None:
        """Write one step of the plan: some rows of every layer."""
        for layer, block in values.items():
            self._arrays[layer][rows] = block
        self._steps_written += 1
        if time.monotonic() - self._saved_at > CHECKPOINT_SECONDS:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Bring everything written so far to the disk, then say so."""
        for array in self._arrays.values():
            array.flush()  # type: ignore[attr-defined]
        write_json(self._folder / "progress.json", {"steps": self._steps_written})
        self._saved_at = time.monotonic()


def _reserve(path: Path, shape: tuple[int, int], dtype: str) -> ndarray:
    """A new array file whose space is allocated at once: writing to a map of a full disk would kill the process."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


class ActivationStore:
    """The folder that holds all entries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entry(self, key: Mapping[str, Any]) -> Entry:
        """The entry of everything its activations depend on; ``key`` (JSON) is kept beside the arrays."""
        folder = self.folder / json_digest({**key, "format": FORMAT})[:24]
        if not (folder / "key.json").is_file():
            write_json(folder / "key.json", {**key, "format": FORMAT})
        return Entry(folder)

    def summaries(self) -> list[dict[str, Any]]:
        """One record an entry, the most recently used first: its key, arrays, bytes and days since last use."""
        found = []
        for path in self.folder.glob("*/key.json"):
            folder = path.parent
            found.append({
                "folder": folder,
                "key": json.loads(path.read_text(encoding="utf-8")),
                "arrays": sorted(manifest.stem for manifest in folder.glob("*.*.json")),
                "bytes": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
                "days": (time.time() - folder.stat().st_mtime) / 86400,
            })
        return sorted(found, key=lambda record: record["days"])

    def prune(self, older_than_days: float) -> list[Path]:
        """Remove the entries not used for so many days; returns their folders."""
        removed = []
        for record in self.summaries():
            if record["days"] >= older_than_days:
                with Entry(record["folder"]).lock():
                    shutil.rmtree(record["folder"])
                removed.append(record["folder"])
        return removed
