"""Launchers of jobs in other processes: check of their installation, files for job failures."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keyneurons.addresses import masked
from keyneurons.atomic_files import write_json

if TYPE_CHECKING:
    from omegaconf import DictConfig

FAILURE_FILE = "failure.json"
CRASHES = {"BrokenProcessPool", "UncompletedJobError", "FailedJobError", "WorkerCrashedError", "OutOfMemoryError"}
"""Exceptions of joblib, submitit and Ray for a process that ended before its job finished."""


@dataclass(frozen=True)
class Failure:
    """A job that failed in another process: its number and its error in one line.

    ``traceback`` is None for a user's mistake.
    """

    number: int
    line: str
    traceback: str | None


def check_launcher(hydra: DictConfig) -> None:
    """Check that the chosen launcher is installed.

    Args:
        hydra: Hydra's part of the configuration.

    Raises:
        ValueError: if it is not installed.
    """
    from hydra.core.plugins import Plugins

    if hydra.launcher._target_ in Plugins.instance().class_name_to_class:
        return
    option = str(hydra.runtime.choices["hydra/launcher"])
    extra = "ray" if option == "ray" else "parallel"
    raise ValueError(f"hydra/launcher={option} is not installed; install it with: pip install 'keyneurons[{extra}]'")


def write_failure(folder: Path, number: int, error: Exception, line: str, *, mistake: bool) -> None:
    """Write the error of a job to its folder, for the process that started the sweep.

    Args:
        folder: the job's folder.
        number: number of the job in the sweep.
        error: the exception.
        line: its message in one line.
        mistake: whether it is a user's mistake, reported without a traceback.
    """
    trace = None if mistake else masked("".join(traceback.format_exception(error)))
    write_json(folder / FAILURE_FILE, asdict(Failure(number, line, trace)))


def collect_failures(folder: Path) -> Sequence[Failure]:
    """Read and delete the failure files of the jobs in a sweep's folder."""
    failures = []
    for file in folder.glob(f"*/{FAILURE_FILE}"):
        failures.append(Failure(**json.loads(file.read_text(encoding="utf-8"))))
        file.unlink()
    return sorted(failures, key=lambda failure: failure.number)


def ended_jobs(folder: Path) -> list[str]:
    """The folders of the jobs that have a summary or failed in another process."""
    jobs = [path for path in folder.iterdir() if path.is_dir()]
    return [path.name for path in jobs if any((path / name).is_file() for name in ("summary.md", FAILURE_FILE))]


def is_crash(error: BaseException) -> bool:
    """Whether a launcher reports that the process of a job was killed or crashed."""
    return any(base.__name__ in CRASHES for base in type(error).__mro__)
