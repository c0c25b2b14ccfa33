"""Removes the folder of a run that was refused before it started."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

RUN_FILE, METRICS_FILE = "run.json", "metrics.json"


@contextmanager
def removed_if_refused(folder: Path) -> Generator[None]:
    """Remove the new folder of a run, with new empty parents, if the block raises before results.

    Nothing is removed if the folder existed before, or if a store has the run: then the run failed,
    and the folder has its log.

    Args:
        folder: the folder, which the block makes.

    Yields:
        Nothing.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException as error:
        if folder in new and _is_refused(folder, error):
            _close_logs(folder)
            shutil.rmtree(folder, ignore_errors=True)
            for parent in new[1:]:
                with suppress(OSError):  # of another run's folder in it
                    parent.rmdir()
        raise


def _close_logs(folder: Path) -> None:
    """Close the logs in a folder; later messages would open them again."""
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, logging.FileHandler)]:
        if Path(handler.baseFilename).is_relative_to(folder):
            root.removeHandler(handler)
            handler.close()


def _is_refused(folder: Path, error: BaseException) -> bool:
    """Whether a run ended by a mistake, without results and without a run in a store."""
    path = folder / RUN_FILE
    if not path.exists():
        return True
    mistake = isinstance(error, ValueError | KeyError | OSError)
    with suppress(OSError, ValueError):
        return mistake and "run_id" not in json.loads(path.read_text("utf-8")) and not (folder / METRICS_FILE).exists()
    return False
