"""New folders that appear only when they are complete."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


def check_new(path: Path) -> None:
    """Check that nothing is at a path except, possibly, an empty folder.

    Raises:
        ValueError: if a file, a link or a folder with contents is there.
    """
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir() or any(path.iterdir()) or path.absolute() == Path.cwd():
        raise ValueError(f"{path} exists; choose a new or an empty folder as the destination")


@contextmanager
def new_folder(path: Path, shown: object) -> Generator[Path]:
    """A temporary folder beside a path, renamed to it at the end; after an error nothing is left.

    Args:
        path: the new folder.
        shown: what errors say instead of the temporary folder.

    Yields:
        The temporary folder.

    Raises:
        ValueError: if something is there, or the block raises it.
        OSError: if the folder cannot be written; the error names it.
    """
    check_new(path)
    path = Path(os.path.abspath(path))
    parents = [parent for parent in path.parents if not parent.exists()]
    temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        check_new(path)
        os.replace(temporary, path)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in parents:
            with suppress(OSError):
                parent.rmdir()
        if isinstance(error, ValueError):
            raise ValueError(str(error).replace(str(temporary), str(shown))) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
