"""``hydra/launcher=ray``; Hydra imports this module in every command, so it imports little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class RayLauncher(Launcher):
    """Runs the jobs of a sweep as tasks of Ray; ``options`` are the keys of ``RayOptions``."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what the jobs need."""
        self._shared = hydra_context, config, task_function

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and wait for them."""
        from keyneurons.cluster.options import ray_options
        from keyneurons.sweeps.ray_jobs import launch

        return launch(ray_options(self._options), *self._shared, job_overrides, initial_job_idx)
