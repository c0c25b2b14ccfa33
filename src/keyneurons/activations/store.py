"""The activation cache: looking up, listing and pruning entries."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import Timeout

from keyneurons.activations.entry import FORMAT, Entry
from keyneurons.atomic_files import check_regular
from keyneurons.digests import json_digest

LISTED = ("model", "revision", "texts", "read_at")  # fields of a key shown when the cache is listed


class ActivationStore:
    """The folder of all entries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entry(self, key: Mapping[str, Any]) -> Entry:
        """The entry of a cache key."""
        versioned = {**key, "format": FORMAT}
        return Entry(self.folder / json_digest(versioned)[:24], versioned)

    def summaries(self) -> tuple[list[dict[str, Any]], list[str]]:
        """List the entries of the cache.

        Returns:
            One record per entry, most recently used first: key, arrays, bytes and days since last
            use; and one line with the path of every folder that is not an entry.
        """
        records, foreign = [], []
        for folder in sorted(path for path in self.folder.glob("*") if path.is_dir()):
            try:
                records.append({
                    "folder": folder,
                    "key": _key_of(folder),
                    "arrays": sorted(manifest.stem for manifest in folder.glob("*.*.json")),
                    "bytes": _bytes(folder),
                    "days": _days_unused(folder),
                })
            except FileNotFoundError:
                if folder.is_dir():  # else pruned by another process
                    foreign.append(f"{folder} is not a cache entry: it has no key.json")
            except (OSError, ValueError) as error:
                foreign.append(f"{folder} is not a cache entry: {error}")
        return sorted(records, key=lambda record: record["days"]), foreign

    def prune(self, older_than_days: float) -> tuple[list[Path], list[str]]:
        """Remove entries that have not been used for some days and are not being filled.

        Args:
            older_than_days: minimum number of days since last use.

        Returns:
            The folders removed, and one line for every folder that is not an entry or cannot be
            removed.
        """
        removed = []
        records, skipped = self.summaries()
        for record in records:
            folder = record["folder"]
            try:
                with suppress(Timeout, FileNotFoundError), Entry(folder, record["key"]).lock(timeout=0.0):
                    # checked again under the lock: it may have been used meanwhile
                    if _days_unused(folder) >= older_than_days:
                        shutil.rmtree(folder)
                        removed.append(folder)
            except OSError as error:
                skipped.append(f"{folder} cannot be removed: {error}")
        return removed, skipped


def _key_of(folder: Path) -> dict[str, Any]:
    """The key of an entry.

    Raises:
        ValueError: the key is damaged, or the folder is a symbolic link.
    """
    if folder.is_symlink():
        raise ValueError("it is a symbolic link")
    check_regular(folder / "key.json")
    try:
        key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its key.json is damaged ({error})") from error
    if not isinstance(key, dict) or not all(isinstance(key.get(name), str) for name in LISTED):
        raise ValueError("its key.json is not that of an entry")
    return key


def _days_unused(folder: Path) -> float:
    return (time.time() - folder.stat().st_mtime) / 86400


def _bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # moved by another process
                total += Path(parent, name).stat().st_size
    return total
