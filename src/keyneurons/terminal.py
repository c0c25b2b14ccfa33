"""Text on the terminal, as it is written."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def print_any_text() -> None:
    """Escape what the encoding of stdout lacks, as Python does on stderr: no result is lost for a character."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def terminal(like: Console | None = None, width: int | None = None) -> Console:
    """A console that takes nothing in a text for markup or an emoji; it writes where ``like`` does, or to stdout."""
    from rich.console import Console

    print_any_text()
    return Console(highlight=False, markup=False, emoji=False, file=None if like is None else like.file, width=width)
