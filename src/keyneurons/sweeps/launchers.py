"""Jobs in processes of their own: what starts them must be installed, and what they failed of comes home in files."""

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
LOST = {"BrokenProcessPool", "UncompletedJobError", "FailedJobError", "WorkerCrashedError", "OutOfMemoryError"}
"""What joblib, submitit and Ray raise when the process of a job ends before the job."""


@dataclass(frozen=True)
class Failure:
    """A job that failed in another process: its number, its error in a line, and where it was raised.

    ``traceback`` is None where the line says all that a user needs.
    """

    number: int
    line: str
    traceback: str | None


def check_launcher(hydra: DictConfig) -> None:
    """Refuse a launcher that is not installed, before anything is opened for its jobs.

    Args:
        hydra: Hydra's part of the configuration.

    Raises:
        ValueError: it is not installed.
    """
    from hydra.core.plugins import Plugins

    if hydra.launcher._target_ in Plugins.instance().class_name_to_class:
        return
    option = str(hydra.runtime.choices["hydra/launcher"])
    extra = "ray" if option == "ray" else "parallel"
    raise ValueError(f"hydra/launcher={option} is not installed; get it with: pip install 'keyneurons[{extra}]'")


def keep_failure(folder: Path, number: int, error: Exception, line: str, *, mistake: bool) -> None:
    """Write into a job's folder what it failed of, for the process that started the sweep.

    Args:
        folder: the job's folder.
        number: place of the job in the sweep.
        error: what it raised.
        line: that in one line.
        mistake: whether the line says all that a user needs.
    """
    trace = None if mistake else masked("".join(traceback.format_exception(error)))
    write_json(folder / FAILURE_FILE, asdict(Failure(number, line, trace)))


def collect_failures(folder: Path) -> Sequence[Failure]:
    """What the jobs of a sweep in this folder failed of; read once, then the files are gone."""
    found = []
    for file in folder.glob(f"*/{FAILURE_FILE}"):
        found.append(Failure(**json.loads(file.read_text(encoding="utf-8"))))
        file.unlink()
    return sorted(found, key=lambda failure: failure.number)


def is_lost(error: BaseException) -> bool:
    """Whether a launcher says that the process of a job was killed, or crashed."""
    return any(base.__name__ in LOST for base in type(error).__mro__)
