"""A sweep from its command line: checked, opened, done by Hydra, compared, and how to resume it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from keyneurons.addresses import masked
from keyneurons.cli.command_line import CommandLine
from keyneurons.cli.commands import store_of
from keyneurons.cli.errors import is_mistake, one_line
from keyneurons.cli.launch import run_hydra
from keyneurons.cli.task import Task
from keyneurons.config.compose import base_config, composing
from keyneurons.config.overrides import command_line_targets, override
from keyneurons.sweeps.jobs import sweep_jobs
from keyneurons.sweeps.launchers import collect_failures, is_lost
from keyneurons.sweeps.resume import Interrupted, find_interrupted, resumed_overrides
from keyneurons.sweeps.session import OpenSweep, open_sweep, resuming
from keyneurons.terminal import terminal


def sweep(line: CommandLine) -> None:
    """Do a sweep.

    Args:
        line: flags and overrides.
    """
    _sweep(line, None, None)


def resume(line: CommandLine) -> None:
    """Go on with a sweep that was interrupted.

    Args:
        line: flags and overrides, with the sweep's id or folder in ``resume``.

    Raises:
        ValueError: there is no such sweep, or its record asks for what a record must not.
    """
    which = str(line.resume)
    if not line.multirun:
        raise ValueError(f"resume= needs -m: {shlex.join(['keyneurons', '-m', f'resume={which}'])}")
    store = store_of(_tracking(line.overrides))
    before = find_interrupted(which, store)
    overrides = resumed_overrides(before, line.overrides, line.config_dir)
    if (uri := store_of(_tracking(overrides)).uri) != store.uri:
        raise ValueError(
            f"the sweep kept its runs in another store; to resume it there, give: tracking.uri={masked(uri)}"
        )
    targets = command_line_targets(line.overrides, line.config_dir)
    _sweep(replace(line, overrides=tuple(overrides)), before, targets)


def _tracking(overrides: Collection[str]) -> list[str]:
    return [text for text in overrides if text.startswith("tracking")]


def _sweep(line: CommandLine, before: Interrupted | None, targets: Collection[str] | None) -> None:
    with composing(line.config_dir):
        base = base_config(line.overrides, line.config_name)
        jobs = sweep_jobs(base, targets=targets)
        folder = Path(base.hydra.sweep.dir).absolute()
    lost = ""
    with open_sweep(jobs, folder, config_dir=line.config_dir, before=before) as opened:
        if before is not None:
            terminal().print(resuming(before, jobs), soft_wrap=True)
        task = Task(opened.membership)
        try:
            run_hydra(task, [*line.arguments, override("hydra.sweep.dir", str(folder))])
        except Exception as error:
            lost = _lost(error)
    _report(opened, task, lost, line)


def _lost(error: Exception) -> str:
    """What became of a sweep that ended before its jobs did.

    Raises:
        Exception: it is none of what a killed process or a full disk raises.
    """
    if is_lost(error):
        return f"{type(error).__name__}: the process of a job ended before the job"
    if isinstance(error, OSError):  # a full disk where Hydra makes the next job's folder
        return one_line(error)
    raise error


def _report(opened: OpenSweep, task: Task, lost: str, line: CommandLine) -> None:
    """Say what failed, compare the runs that finished, and end in an error if some are missing.

    Raises:
        ValueError: jobs failed, or did not finish; it says how to go on.
    """
    failures = collect_failures(opened.folder)
    for failure in failures:
        sys.stderr.write(f"{failure.traceback or ''}keyneurons: error: #{failure.number}: {failure.line}\n")
    if told := opened.compare():
        sys.stdout.write(f"{told}\n")
    for error in task.errors.values():
        if not is_mistake(error):
            raise error
    failed = [*task.errors, *(failure.number for failure in failures)]
    outcome = opened.outcome
    if lost or outcome.missing or failed:
        why = lost or (_failed(failed) if failed else f"{outcome.missing} of the jobs did not finish")
        left = f"jobs that still run: {outcome.running}; when they have ended, " if outcome.running else ""
        own = ["--config-dir", str(line.config_dir)] if line.config_dir is not None else []
        again = shlex.join(["keyneurons", *own, "-m", f"resume={opened.parent or opened.folder}"])
        raise ValueError(f"{why}; {left}resume with: {again}")


def _failed(numbers: Collection[int]) -> str:
    which = ", ".join(f"#{number}" for number in numbers)
    return f"{len(numbers)} of the jobs failed ({which}); their runs keep the log"
