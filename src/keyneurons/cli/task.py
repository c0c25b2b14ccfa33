"""The function that Hydra calls for a run and for every job of a sweep, in any process."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.cli.process import keep_quiet
from keyneurons.memo import Memo
from keyneurons.process_tag import process_tag
from keyneurons.progress import stage
from keyneurons.terminal import clear_line

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from keyneurons.runs.membership import Membership


class Task:
    """Does one run or one job of a sweep; errors are stored, so that the other jobs still run.

    Jobs of this process share ``memo``. Launchers send a copy of the task with each job to another
    process, where its memo is empty: such jobs share nothing in memory. ``errors`` holds the errors
    of this process by job number (0 for a run); other processes write theirs to the job's folder.
    """

    def __init__(self, sweep: Membership | None) -> None:
        self.sweep = sweep
        self.errors: dict[int, Exception] = {}
        self.memo = Memo()
        self._home = process_tag()

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Unpickle the task in a worker."""
        self.__dict__.update(state)
        if self._home != process_tag():
            os.environ["TQDM_DISABLE"] = "1"  # the bars of several workers would overwrite each other
        keep_quiet()

    def __call__(self, composed: DictConfig) -> None:
        """Do the run of a configuration that Hydra has composed."""
        try:
            self._run(composed)
        except Exception as error:
            self._store(error)

    def _run(self, composed: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig

        from keyneurons.config.validation import validate

        hydra = HydraConfig.get()
        config = validate(composed)
        with stage("loading libraries"):
            from keyneurons.runs.job import run_alone, run_job

        gc.freeze()  # scanning the million objects of imported modules takes a second per job
        folder = Path(hydra.runtime.output_dir)
        options = {group: str(option) for group, option in hydra.runtime.choices.items() if option}
        choices = {group.replace("@", "."): name for group, name in options.items() if not group.startswith("hydra/")}
        if self.sweep is None:
            run_alone(config, folder, choices)
        else:
            run_job(config, folder, choices, self.sweep, hydra.job.num, memo=self.memo)
            gc.collect()  # Lightning's trainers and their tensors form reference cycles

    def _store(self, error: Exception) -> None:
        """Store an error for the report at the end of the command."""
        from hydra.core.hydra_config import HydraConfig

        from keyneurons.cli.errors import is_mistake, one_line
        from keyneurons.sweeps.launchers import write_failure

        hydra = HydraConfig.get()
        if self.sweep is None:
            self.errors[0] = error
        elif self._home == process_tag():
            self.errors[hydra.job.num] = error
            clear_line()
            sys.stderr.write(f"keyneurons: error: #{hydra.job.num}: {one_line(error)}\n")
        else:
            folder = Path(hydra.runtime.output_dir)
            write_failure(folder, hydra.job.num, error, one_line(error), mistake=is_mistake(error))
