"""Starts a run or a sweep through Hydra."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from keyneurons.cli.task import Task

if TYPE_CHECKING:
    from keyneurons.cli.command_line import CommandLine


def launch(line: CommandLine) -> None:
    """Start a run or a sweep, or let Hydra answer a flag such as ``--cfg``.

    Args:
        line: flags and overrides.

    Raises:
        ValueError: if the configuration is invalid, or jobs of a sweep failed.
    """
    if "${" in os.getcwd():
        raise ValueError(
            "the path of the working directory contains ${, which Hydra would resolve; "
            "start keyneurons in another directory"
        )
    if not line.runs:
        run_hydra(Task(None), line.arguments)
    elif line.resume is not None:
        from keyneurons.cli.sweep import resume

        resume(line)
    elif line.multirun:
        from keyneurons.cli.sweep import sweep

        sweep(line)
    else:
        _run_or_sweep(line)


def _run_or_sweep(line: CommandLine) -> None:
    """Do a single run, or the sweep of a configuration that sets ``hydra.mode`` to MULTIRUN."""
    from hydra.types import RunMode

    from keyneurons.config.compose import base_config, composing

    with composing(line.config_dir):
        hydra = base_config(line.overrides, line.config_name).hydra
        if hydra.mode != RunMode.MULTIRUN:
            return _run(line, Path(hydra.run.dir).absolute())

    from keyneurons.cli.sweep import sweep

    return sweep(line)


def _run(line: CommandLine, folder: Path) -> None:
    """Do a single run in a folder, inside ``composing``.

    Hydra's main function would compose the configuration once more.
    """
    from keyneurons.config.compose import run
    from keyneurons.config.overrides import override
    from keyneurons.runs.refused import removed_if_refused

    task = Task(None)
    with removed_if_refused(folder), _folder_named():
        run(task, [*line.overrides, override("hydra.run.dir", str(folder))], line.config_name)
        for error in task.errors.values():
            raise error


def run_hydra(task: Task, arguments: Sequence[str]) -> None:
    """Call a task through Hydra with the configuration that it composes.

    Args:
        task: the function that Hydra calls.
        arguments: flags and overrides.

    Raises:
        OSError: if a folder cannot be written; the error names it.
    """
    import hydra

    from keyneurons.config.paths import conf_folder

    sys.argv[1:] = arguments
    with _folder_named():
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(task)()


@contextmanager
def _folder_named() -> Generator[None]:
    """Add Hydra's output folder to an error without a file name, as on a full disk.

    Yields:
        Nothing.

    Raises:
        OSError: with the folder's name.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
            folders = [str(names["output_dir"]) for names in frames if "output_dir" in names]
            error.filename = folders[-1] if folders else None
        raise
