"""Atomic writing of files, with the permissions of the user's umask."""

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
    """Set the permissions of a new file under the current umask."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def check_regular(path: Path) -> None:
    """Reject existing paths that are not regular files, such as a pipe, which may be endless.

    Links are followed.

    Raises:
        ValueError: If the path exists and is not a regular file.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a regular file")


@contextmanager
def naming(path: Path, needed: int) -> Generator[None]:
    """Add the path to disk errors and, if the disk is full, the number of bytes needed.

    Raises:
        OSError: The original error with the path.
    """
    try:
        yield
    except OSError as error:
        details = f"; {needed:,} bytes are needed" if error.errno in FULL else ""
        raise OSError(error.errno, f"{error.strerror or error}{details}", str(path)) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old or the complete new file; errors name it."""
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
    """Write a UTF-8 text file atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write a safetensors file atomically, with ``facts`` as its metadata."""
    from safetensors.torch import save

    write_bytes(path, save(dict(tensors), metadata=dict(facts)))
