"""Text inside Markdown: shown as it is written, whatever HTML or Markdown it looks like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

_INLINE = re.compile(r"[\\`*\[\]~#&<>|$@]|(?<![^\W_])_|_(?![^\W_])|:(?=\S)|(?<=www)\.")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "$": "&#36;", "@": "&#64;"}
_BLOCK = re.compile(r"\A(\d*)([-+=.)])")


def inline(text: str) -> str:
    """Text for a line or a cell of a table, in the dialects of GitHub and MLflow alike."""
    one_line = re.sub(r"\s*[\r\n]\s*", " ", text)
    return _INLINE.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), one_line)


def block(text: str) -> str:
    """Text for the beginning of a heading or of an item of a list."""
    return _BLOCK.sub(r"\1\\\2", inline(text).strip())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table."""
    yield f"| {' | '.join(map(inline, head))} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(map(inline, row))} |"
