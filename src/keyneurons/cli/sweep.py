"""Starts or resumes a sweep, compares its runs, and reports failed jobs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Generator
from contextlib import contextmanager
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
from keyneurons.progress import stage
from keyneurons.sweeps.ahead import BASIC_LAUNCHER, read_ahead
from keyneurons.sweeps.jobs import Job, sweep_jobs
from keyneurons.sweeps.launchers import collect_failures, ended_jobs, is_crash, launcher_ready
from keyneurons.sweeps.resume import Interrupted, find_interrupted, resumed_overrides
from keyneurons.sweeps.session import OpenSweep, open_sweep, resume_message
from keyneurons.terminal import terminal


def sweep(line: CommandLine) -> None:
    """Start a sweep.

    Args:
        line: flags and overrides.
    """
    _sweep(line, None, None)


def resume(line: CommandLine) -> None:
    """Resume an interrupted sweep.

    Args:
        line: flags and overrides, with the sweep's id or folder in ``resume``.

    Raises:
        ValueError: if there is no such sweep, its record contains settings that a record must not
            set, or its runs are in another store.
    """
    which = str(line.resume)
    if not line.multirun:
        raise ValueError(f"resume= needs -m: {shlex.join(['keyneurons', '-m', f'resume={which}'])}")
    store = store_of(_tracking(line.overrides))
    interrupted = find_interrupted(which, store)
    overrides = resumed_overrides(interrupted, line.overrides, line.config_dir)
    if (uri := store_of(_tracking(overrides)).uri) != store.uri:
        raise ValueError(
            f"the runs of the sweep are in another store; to resume it there, add tracking.uri={masked(uri)}"
        )
    targets = command_line_targets(line.overrides, line.config_dir)
    _sweep(replace(line, overrides=tuple(overrides)), interrupted, targets)


def _tracking(overrides: Collection[str]) -> list[str]:
    return [text for text in overrides if text.startswith("tracking")]


def _sweep(line: CommandLine, interrupted: Interrupted | None, targets: Collection[str] | None) -> None:
    with composing(line.config_dir):
        base = base_config(line.overrides, line.config_name)
        jobs = sweep_jobs(base, targets=targets)
        folder = Path(base.hydra.sweep.dir).absolute()
    crash = ""
    opening = open_sweep(jobs, folder, config_dir=line.config_dir, interrupted=interrupted)
    with launcher_ready(base.hydra), opening as opened:
        if interrupted is not None:
            terminal().print(resume_message(interrupted, jobs), soft_wrap=True)
        task = Task(opened.membership)
        try:
            if base.hydra.launcher._target_ == BASIC_LAUNCHER:  # other launchers have their own machines
                finished = opened.membership.finished
                read_ahead([job for job in jobs.jobs if job.fingerprint not in finished])
            with finished_jobs(opened, jobs.jobs, task.errors):
                run_hydra(task, [*line.arguments, override("hydra.sweep.dir", str(folder))])
        except Exception as error:
            crash = _crash_message(error)
    _report(opened, task, crash, line)


@contextmanager
def finished_jobs(opened: OpenSweep, jobs: Collection[Job], errors: Collection[int]) -> Generator[None]:
    """Show how many jobs have finished: before a resumption, with a summary, or with an error.

    Yields:
        Nothing.
    """
    first = sum(job.fingerprint in opened.membership.finished for job in jobs)
    before = set(ended_jobs(opened.folder))

    def count() -> int:
        return first + len(set(ended_jobs(opened.folder)) - before) + len(errors)

    with stage("sweep", total=len(jobs), unit="jobs", first=first, count=count):
        yield


def _crash_message(error: Exception) -> str:
    """The reason why a sweep ended before its jobs.

    Raises:
        Exception: the error itself, if neither a killed process nor a full disk caused it.
    """
    if is_crash(error):
        return f"{type(error).__name__}: the process of a job ended before the job finished"
    if isinstance(error, OSError):  # a full disk when Hydra creates the folder of the next job
        return one_line(error)
    raise error


def _report(opened: OpenSweep, task: Task, crash: str, line: CommandLine) -> None:
    """Report failed jobs and compare the finished runs.

    Raises:
        ValueError: if jobs failed or did not finish; the message says how to resume the sweep.
    """
    failures = collect_failures(opened.folder)
    for failure in failures:
        sys.stderr.write(f"{failure.traceback or ''}keyneurons: error: #{failure.number}: {failure.line}\n")
    if message := opened.compare():
        sys.stdout.write(f"{message}\n")
    for error in task.errors.values():
        if not is_mistake(error):
            raise error
    failed = [*task.errors, *(failure.number for failure in failures)]
    outcome = opened.outcome
    if crash or outcome.missing or failed:
        reason = crash or (_failed(failed) if failed else f"{_jobs(outcome.missing)} did not finish")
        wait = f"{_jobs(outcome.running)} still running; afterwards " if outcome.running else ""
        flags = ["--config-dir", str(line.config_dir)] if line.config_dir is not None else []
        command = shlex.join(["keyneurons", *flags, "-m", f"resume={opened.parent or opened.folder}"])
        raise ValueError(f"{reason}; {wait}resume with: {command}")


def _failed(numbers: Collection[int]) -> str:
    which = ", ".join(f"#{number}" for number in numbers)
    return f"{_jobs(len(numbers))} failed ({which}); the log is in the run of each"


def _jobs(n: int) -> str:
    return f"{n} job{'' if n == 1 else 's'}"
