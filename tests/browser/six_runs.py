"""A sweep that the tests in a browser look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sweep:
    """A folder with the store of a sweep, and the ids of the sweep and its runs."""

    folder: Path
    parent: str
    runs: tuple[str, ...]
