"""An entry of the activation cache on disk: whole arrays under a digest, or nothing.

It is a folder named after the digest of what the activations depend on. It holds one ``.npy`` per site and layer
and beside it a manifest, written last: an array without its manifest, or whose digest is another, does not count.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from jaxtyping import Float
from numpy import ndarray

from keyneurons.activations.partial import PartialArrays
from keyneurons.atomic_files import check_regular, write_json
from keyneurons.digests import file_digest, json_digest

FORMAT = 2

NPY_HEADER = 128
"""Bytes in front of the numbers of a two-dimensional ``.npy`` file: numpy pads its header to this."""

BESIDE_AN_ARRAY = 1000
"""Most bytes that stand beside an array: its manifest, and its share of what names the entry."""


def array_bytes(words: int, neurons: int, dtype: str) -> int:
    """Bytes of an array of the cache: ``words x neurons`` numbers behind a header."""
    return NPY_HEADER + words * neurons * np.dtype(dtype).itemsize


@dataclass(frozen=True)
class Entry:
    """One folder of the cache: the activations of one model on the sentences of one split.

    ``key`` (JSON) is all that they depend on; it is kept beside the arrays.
    """

    folder: Path
    key: Mapping[str, Any]

    @contextmanager
    def lock(self, timeout: float = -1.0) -> Generator[None]:
        """Hold the entry: two processes never extract the same thing twice.

        Args:
            timeout: seconds to wait for another process; for ever by default.

        Yields:
            Nothing.

        Raises:
            filelock.Timeout: another process still holds it.
        """
        # beside the folder: who waits for a lock that prune removes would hold the lock of nothing
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.folder}.lock", timeout=timeout):
            yield

    def has(self, series: str, layer: int) -> bool:
        """Whether an array is there, be it damaged."""
        return self._manifest(series, layer).is_file()

    def load_all(self, series: str, layers: Sequence[int]) -> dict[int, Float[ndarray, "words neurons"] | None]:
        """Several arrays by layer, as ``load`` gives them."""
        with ThreadPoolExecutor(os.cpu_count()) as at_once:
            return dict(zip(layers, at_once.map(functools.partial(self.load, series), layers), strict=True))

    def load(self, series: str, layer: int) -> Float[ndarray, "words neurons"] | None:
        """A memory-mapped array ``[words, neurons]``, or None where it is missing or damaged."""
        array, manifest = self._array(series, layer), self._manifest(series, layer)
        try:
            check_regular(manifest)
            check_regular(array)
            facts = json.loads(manifest.read_text(encoding="utf-8"))
            if (facts["entry"], facts["site"], facts["layer"]) != (self.folder.name, series, layer):
                return None  # copied or moved here from another entry, site or layer
            if file_digest(array) != facts["sha256"]:
                return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        with suppress(OSError):  # of another user, or on a disk that is only read
            os.utime(self.folder)
        loaded: ndarray = np.load(array, mmap_mode="r", allow_pickle=False)
        return loaded

    @contextmanager
    def write(
        self, series: str, layers: Sequence[int], shape: tuple[int, int], dtype: str, plan: Any
    ) -> Generator[PartialArrays]:
        """Fill arrays for some layers; they become part of the entry when the block ends without an error.

        What an interrupted process with the same ``plan`` (any JSON value) has written of these layers is kept and gone
        on with. After an error that going on would meet again nothing is kept.

        Args:
            series: what the arrays are of: a site, or another name.
            layers: one array each.
            shape: words and neurons of every array.
            dtype: number format of the arrays.
            plan: what the order of writing depends on.

        Yields:
            The arrays under way.

        Raises:
            ValueError: the block has raised it.
            LookupError: likewise.
            OSError: the block has raised it, or the disk is full.
        """
        folder = self.folder / f"partial-{series}-{json_digest([list(shape), dtype, plan])[:16]}"
        try:
            write_json(self.folder / "key.json", self.key)
            with closing(PartialArrays.open(folder, layers, shape, dtype)) as partial:
                yield partial
                partial.checkpoint()
            with ThreadPoolExecutor(os.cpu_count()) as at_once:  # digests keep a core each busy
                admitted = [at_once.submit(self._admit, partial.path(i), series, i, shape, dtype) for i in layers]
                for each in admitted:
                    each.result()
        except (ValueError, LookupError, OSError):
            shutil.rmtree(folder, ignore_errors=True)
            self._remove_if_empty()
            raise
        for other in self.folder.glob(f"partial-{series}-*"):
            if other != folder or not list(other.glob("*.npy")):
                shutil.rmtree(other, ignore_errors=True)

    def _admit(self, path: Path, series: str, layer: int, shape: tuple[int, int], dtype: str) -> None:
        digest = file_digest(path)
        self._manifest(series, layer).unlink(missing_ok=True)
        os.replace(path, self._array(series, layer))
        where = {"format": FORMAT, "entry": self.folder.name, "site": series, "layer": layer}
        write_json(self._manifest(series, layer), {**where, "shape": shape, "dtype": dtype, "sha256": digest})

    def _remove_if_empty(self) -> None:
        if {path.name for path in self.folder.glob("*")} <= {"key.json"}:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _array(self, series: str, layer: int) -> Path:
        return self.folder / f"{series}.{layer}.npy"

    def _manifest(self, series: str, layer: int) -> Path:
        return self.folder / f"{series}.{layer}.json"
