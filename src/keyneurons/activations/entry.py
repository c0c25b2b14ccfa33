"""An entry of the activation cache on disk.

An entry is a folder named after the digest of its key. It holds one ``.npy`` file per site and
layer, each with a manifest that is written last: an array without a manifest, or with another
digest than its manifest says, is invalid.
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
"""Bytes of the header of a two-dimensional ``.npy`` file, padded by numpy."""

MANIFEST_BYTES = 1000
"""Upper bound of the bytes stored with an array: its manifest, and its share of the entry's key."""


def array_bytes(words: int, neurons: int, dtype: str) -> int:
    """Bytes of an array of the cache: a header and ``words x neurons`` numbers."""
    return NPY_HEADER + words * neurons * np.dtype(dtype).itemsize


@dataclass(frozen=True)
class Entry:
    """One folder of the cache: the activations of one model on the sentences of one split.

    ``key`` (JSON) lists everything the activations depend on; it is stored with the arrays.
    """

    folder: Path
    key: Mapping[str, Any]

    @contextmanager
    def lock(self, timeout: float = -1.0) -> Generator[None]:
        """Lock the entry, so that two processes never extract the same activations.

        Args:
            timeout: seconds to wait for another process; unlimited by default.

        Yields:
            Nothing.

        Raises:
            filelock.Timeout: another process still holds the lock.
        """
        # the lock file is outside the folder, since prune removes the folder while others may wait
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.folder}.lock", timeout=timeout):
            yield

    def has(self, series: str, layer: int) -> bool:
        """Whether an array exists, valid or damaged."""
        return self._manifest(series, layer).is_file()

    def load_all(
        self, series: str, layers: Sequence[int], *, verify: bool = True
    ) -> dict[int, Float[ndarray, "words neurons"] | None]:
        """The results of ``load`` for several layers, by layer."""
        load = functools.partial(self.load, series, verify=verify)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return dict(zip(layers, pool.map(load, layers), strict=True))

    def load(self, series: str, layer: int, *, verify: bool = True) -> Float[ndarray, "words neurons"] | None:
        """A memory-mapped array ``[words, neurons]``, or None if it is missing or damaged.

        Without ``verify``, for an array that this process has just written and digested, the digest
        is not computed again.
        """
        array, manifest = self._array(series, layer), self._manifest(series, layer)
        try:
            check_regular(manifest)
            check_regular(array)
            facts = json.loads(manifest.read_text(encoding="utf-8"))
            if (facts["entry"], facts["site"], facts["layer"]) != (self.folder.name, series, layer):
                return None  # copied from another entry, site or layer
            if verify and file_digest(array) != facts["sha256"]:
                return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        with suppress(OSError):  # the folder may be another user's or read-only
            os.utime(self.folder)
        loaded: ndarray = np.load(array, mmap_mode="r", allow_pickle=False)
        return loaded

    @contextmanager
    def write(
        self, series: str, layers: Sequence[int], shape: tuple[int, int], dtype: str, plan: Any
    ) -> Generator[PartialArrays]:
        """Fill arrays for some layers; they join the entry when the block ends without an error.

        Rows that an interrupted process wrote with the same ``plan`` (any JSON value) are kept, and
        extraction resumes after them. After an error that would recur nothing is kept.

        Args:
            series: name of the arrays: a site, or another name.
            layers: layers to fill, one array each.
            shape: words and neurons of every array.
            dtype: number format of the arrays.
            plan: everything that the order of writing depends on.

        Yields:
            The unfinished arrays.

        Raises:
            ValueError: raised in the block.
            LookupError: raised in the block.
            OSError: raised in the block, or the disk is full.
        """
        folder = self.folder / f"partial-{series}-{json_digest([list(shape), dtype, plan])[:16]}"
        try:
            write_json(self.folder / "key.json", self.key)
            with closing(PartialArrays.open(folder, layers, shape, dtype)) as partial:
                yield partial
                partial.checkpoint()
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # each digest occupies a core
                futures = [pool.submit(self._admit, partial.path(i), series, i, shape, dtype) for i in layers]
                for future in futures:
                    future.result()
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
