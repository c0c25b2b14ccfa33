"""Results of trained probes on disk, so that runs on the same words train each probe once.

One safetensors file per result, named after the digest of everything the result depends on. The
file holds a digest of its content: a damaged file is computed again. Processes may write the same
result at the same time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from keyneurons.atomic_files import check_regular, write_bytes
from keyneurons.version import __version__

FORMAT = 2  # raise it whenever the training of probes or the content of a result changes
SECONDS_PER_DAY = 86400

log = logging.getLogger(__name__)


def result_key(*parts: Any) -> str:
    """The key of a result that depends on arrays and JSON values; versions of the code differ."""
    digest = hashlib.sha256()
    for part in (FORMAT, __version__, *parts):
        is_array = isinstance(part, ndarray)
        described = f"{part.dtype} {part.shape}" if is_array else json.dumps(part, sort_keys=True)
        digest.update(f"{len(described)} {described}".encode())
        if is_array:
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class ResultStore:
    """The folder of the results; with None, every result is computed when it is needed.

    A result is an array of integers or booleans. A folder that cannot be written is logged, and the
    run continues.
    """

    folder: Path | None = None

    def get(self, key: str | None, compute: Callable[[], Shaped[ndarray, "*shape"]]) -> Shaped[ndarray, "*shape"]:
        """The result of a key, computed and stored on first use; key None is not stored."""
        stored = self.load(key)
        if stored is not None:
            return stored
        computed = compute()
        self.save(key, computed)
        return computed

    def load(self, key: str | None) -> Shaped[ndarray, "*shape"] | None:
        """The stored result of a key; None if it is missing or damaged."""
        if self.folder is None or key is None:
            return None
        from safetensors import SafetensorError, safe_open

        path = self._path(key)
        try:
            check_regular(path)
            with safe_open(path, "np") as file:
                values: ndarray = file.get_tensor("values")
                if (file.metadata() or {}) != _facts(key, values):
                    return None
        except (OSError, ValueError, SafetensorError):
            return None
        with suppress(OSError):  # the folder may be another user's or read-only
            os.utime(path)
        return values

    def save(self, key: str | None, values: Shaped[ndarray, "*shape"]) -> None:
        """Store the result of a key; a failure is logged."""
        if self.folder is None or key is None:
            return
        from safetensors.numpy import save

        values = np.ascontiguousarray(values)
        try:
            write_bytes(self._path(key), save({"values": values}, metadata=_facts(key, values)))
        except OSError as error:
            log.warning("probe results are not cached: %s", error)

    def size(self) -> tuple[int, int]:
        """Number of stored results, and bytes."""
        sizes = [state.st_size for path, state in self._files() if path.suffix == ".safetensors"]
        return len(sizes), sum(sizes)

    def prune(self, older_than_days: float) -> tuple[int, list[str]]:
        """Remove results that have not been used for some days.

        Returns:
            Number of results removed, and one line for every file that cannot be removed.
        """
        removed, skipped = 0, []
        for path, state in self._files():
            if time.time() - state.st_mtime < older_than_days * SECONDS_PER_DAY:
                continue
            try:
                path.unlink()
                removed += path.suffix == ".safetensors"
            except OSError as error:
                skipped.append(f"{path} cannot be removed: {error}")
        return removed, skipped

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{key}.safetensors"

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Results and files of interrupted writes; files of others are ignored."""
        for path in sorted(self.folder.glob("*")) if self.folder is not None else ():
            with suppress(OSError):  # removed by another process
                if path.suffix in {".safetensors", ".tmp"} and path.is_file() and not path.is_symlink():
                    yield path, path.stat()


def _facts(key: str, values: Shaped[ndarray, "*shape"]) -> dict[str, str]:
    digest = hashlib.sha256(f"{values.dtype} {values.shape}".encode())
    digest.update(np.ascontiguousarray(values).data)
    return {"format": str(FORMAT), "key": key, "sha256": digest.hexdigest()}
