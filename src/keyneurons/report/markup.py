"""Escaping of text in Markdown, so that it is displayed literally."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

_INLINE = re.compile(r"[\\`*\[\]~#&<>|$@]|(?<![^\W_])_|_(?![^\W_])|:(?=\S)|(?<=www)\.")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "$": "&#36;", "@": "&#64;"}
_BLOCK = re.compile(r"\A(\d*)([-+=.)])")


def inline(text: str) -> str:
    """Escape text for a line or a table cell, for the Markdown of GitHub and MLflow."""
    one_line = re.sub(r"\s*[\r\n]\s*", " ", text)
    return _INLINE.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), one_line)


def block(text: str) -> str:
    """Escape text at the beginning of a heading or a list item."""
    return _BLOCK.sub(r"\1\\\2", inline(text).strip())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Format a table, line by line."""
    yield f"| {' | '.join(map(inline, head))} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(map(inline, row))} |"
