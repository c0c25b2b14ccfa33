"""What Hydra calls for a run, and for every job of a sweep in whatever process it is."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.cli.process import keep_quiet
from keyneurons.memo import Memo
from keyneurons.process_tag import process_tag

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from keyneurons.runs.membership import Membership


class Task:
    """Does one run, or one job of a sweep; what it raises is kept, so that the other jobs go on.

    Jobs that run in this process share ``memo``. Launchers send a copy of the task with each job into another process,
    and the memo of the copy is empty: such jobs share nothing in memory. Errors of this process are in ``errors`` by
    the number of the job (0 for a run); those of other processes are left in the folders of their jobs.
    """

    def __init__(self, sweep: Membership | None) -> None:
        self.sweep = sweep
        self.errors: dict[int, Exception] = {}
        self.memo = Memo()
        self._home = process_tag()

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Arrive in a worker."""
        self.__dict__.update(state)
        keep_quiet()

    def __call__(self, composed: DictConfig) -> None:
        """Do the run that Hydra has composed."""
        try:
            self._run(composed)
        except Exception as error:
            self._keep(error)

    def _run(self, composed: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        from keyneurons.config.validation import validate

        hydra = HydraConfig.get()
        config = validate(composed)
        from keyneurons.runs.job import run_alone, run_job

        gc.freeze()  # what is imported stays: looking through a million objects again and again takes a second a job
        folder = Path(hydra.runtime.output_dir)
        options = {group: str(option) for group, option in hydra.runtime.choices.items() if option}
        choices = {group.replace("@", "."): name for group, name in options.items() if not group.startswith("hydra/")}
        if self.sweep is None:
            run_alone(config, folder, choices)
        else:
            run_job(config, folder, choices, self.sweep, hydra.job.num, memo=self.memo)
            gc.collect()  # Lightning's trainers hang in cycles, with their tensors; another job may follow

    def _keep(self, error: Exception) -> None:
        """Keep an error where the command finds it."""
        from hydra.core.hydra_config import HydraConfig

        from keyneurons.cli.errors import is_mistake, one_line
        from keyneurons.sweeps.launchers import keep_failure

        hydra = HydraConfig.get()
        if self.sweep is None:
            self.errors[0] = error
        elif self._home == process_tag():
            self.errors[hydra.job.num] = error
            sys.stderr.write(f"keyneurons: error: #{hydra.job.num}: {one_line(error)}\n")
        else:
            folder = Path(hydra.runtime.output_dir)
            keep_failure(folder, hydra.job.num, error, one_line(error), mistake=is_mistake(error))
