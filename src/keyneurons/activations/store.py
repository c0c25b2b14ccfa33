"""The activation cache: its entries, their list, and the removal of old ones."""

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

SHOWN = ("model", "revision", "texts", "read_at")  # of a key, in a list of the cache


class ActivationStore:
    """The folder that holds all entries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entry(self, key: Mapping[str, Any]) -> Entry:
        """The entry of everything its activations depend on."""
        whole = {**key, "format": FORMAT}
        return Entry(self.folder / json_digest(whole)[:24], whole)

    def summaries(self) -> tuple[list[dict[str, Any]], list[str]]:
        """What is in the cache.

        Returns:
            One record an entry, the most recently used first: its key, arrays, bytes and days since last use; and a
            line for every folder that is none, with its path.
        """
        found, foreign = [], []
        for folder in sorted(path for path in self.folder.glob("*") if path.is_dir()):
            try:
                found.append({
                    "folder": folder,
                    "key": _key_of(folder),
                    "arrays": sorted(manifest.stem for manifest in folder.glob("*.*.json")),
                    "bytes": _bytes(folder),
                    "days": _days_unused(folder),
                })
            except FileNotFoundError:
                if folder.is_dir():  # else pruned by another process
                    foreign.append(f"{folder} is no entry of the cache: it has no key.json")
            except (OSError, ValueError) as error:
                foreign.append(f"{folder} is no entry of the cache: {error}")
        return sorted(found, key=lambda record: record["days"]), foreign

    def prune(self, older_than_days: float) -> tuple[list[Path], list[str]]:
        """Remove the entries not used for so many days, but none that a process is filling.

        Args:
            older_than_days: how long they were not used.

        Returns:
            The folders removed, and a line for every folder that was left alone since it is no entry or cannot be
            removed.
        """
        removed = []
        found, skipped = self.summaries()
        for record in found:
            folder = record["folder"]
            try:
                with suppress(Timeout, FileNotFoundError), Entry(folder, record["key"]).lock(timeout=0.0):
                    # again: it may have been used in the meantime
                    if _days_unused(folder) >= older_than_days:
                        shutil.rmtree(folder)
                        removed.append(folder)
            except OSError as error:
                skipped.append(f"{folder} cannot be removed: {error}")
        return removed, skipped


def _key_of(folder: Path) -> dict[str, Any]:
    """The key of an entry.

    Raises:
        ValueError: it is damaged, or the folder is a link to somewhere else.
    """
    if folder.is_symlink():
        raise ValueError("it is a symbolic link")
    check_regular(folder / "key.json")
    try:
        key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its key.json is damaged ({error})") from error
    if not isinstance(key, dict) or not all(isinstance(key.get(name), str) for name in SHOWN):
        raise ValueError("its key.json is another's")
    return key


def _days_unused(folder: Path) -> float:
    return (time.time() - folder.stat().st_mtime) / 86400


def _bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # finished by another process
                total += Path(parent, name).stat().st_size
    return total
