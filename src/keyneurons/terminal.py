"""Output of unmodified text to the terminal."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def print_any_text() -> None:
    """Escape characters that stdout cannot encode, as Python does on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def clear_line() -> None:
    """Remove a progress bar, of this process or another, from the line that is printed next."""
    if sys.stdout.isatty():
        sys.stdout.write("\r\x1b[2K")


def terminal(like: Console | None = None, width: int | None = None) -> Console:
    """Create a console without markup or emoji codes, writing to the file of ``like`` or stdout."""
    from rich.console import Console

    print_any_text()
    return Console(highlight=False, markup=False, emoji=False, file=None if like is None else like.file, width=width)
