"""Files that appear whole or not at all, with the permissions that the user's umask gives."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

FULL = {errno.ENOSPC, errno.EDQUOT}


def open_to_umask(path: Path) -> None:
    """Give a file the permissions that the umask gives to new files."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def check_regular(path: Path) -> None:
    """Refuse what is there but no file, such as a pipe, which may have no end; a link counts as what it leads to.

    Raises:
        ValueError: it is something else.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no regular file")


@contextmanager
def naming(path: Path, needed: int) -> Generator[None]:
    """Let an error of the disk name the file and, where the disk is full, the bytes that the file needs.

    Raises:
        OSError: the error, with the file.
    """
    try:
        yield
    except OSError as error:
        more = f"; {needed:,} bytes are needed" if error.errno in FULL else ""
        raise OSError(error.errno, f"{error.strerror or error}{more}", str(path)) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one; an error names the file."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    with naming(path, len(content)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all; ``facts`` are its metadata."""
    from safetensors.torch import save

    write_bytes(path, save(dict(tensors), metadata=dict(facts)))
