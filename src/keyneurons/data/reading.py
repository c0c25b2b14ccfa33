"""Reads text files; errors name the file and the line."""

from __future__ import annotations

import gzip
import lzma
import zlib
from pathlib import Path


def read_text(path: Path) -> str:
    """Read a UTF-8 file, decompressing ``.gz`` and ``.xz``.

    Args:
        path: The file.

    Returns:
        The text, with newlines as line ends.

    Raises:
        ValueError: If the file does not exist or cannot be decompressed or decoded.
    """
    data = _read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = error.object[error.start]
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}:{line}: not UTF-8: byte 0x{bad:02x}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    data = path.read_bytes()
    try:
        if path.suffix == ".gz":
            return gzip.decompress(data)
        if path.suffix == ".xz":
            return lzma.decompress(data)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path}:1: cannot be decompressed as {path.suffix}: {error}") from error
    return data
