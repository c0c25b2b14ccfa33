"""Jobs of a sweep on Ray."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from omegaconf import open_dict

from keyneurons.cluster.calls import LostProcess, call, gather
from keyneurons.cluster.connection import connected
from keyneurons.cluster.options import RayOptions
from keyneurons.sweeps.launchers import write_failure

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


def launch(
    options: RayOptions,
    context: HydraContext,
    config: DictConfig,
    task: TaskFunction,
    overrides: Sequence[Sequence[str]],
    first: int,
) -> list[JobReturn]:
    """Run jobs on Ray; the output of each appears when it ends.

    A job whose process or node is lost leaves a failure file and does not affect the others.

    Args:
        options: address of the cluster and resources of a job.
        context: Hydra's context.
        config: the sweep's configuration.
        task: the function that does a job.
        overrides: the overrides of each job.
        first: number of the first job.

    Returns:
        The status of each job.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
    jobs = dict(enumerate(overrides, first))
    with connected(options):
        state = Singleton.get_state()
        calls = {
            call(options, _do, context, config, task, state, number, list(jobs[number])): number for number in jobs
        }
        with closing(gather(options, calls)) as results:  # an interruption cancels the jobs
            for number, result in results:
                if isinstance(result, Exception):
                    _keep_failure(_job_config(context, config, number, jobs[number]), number, result)
                else:
                    sys.stdout.write(result.out)
                    sys.stderr.write(result.err)
                    sys.stdout.flush()
    return [JobReturn(overrides=jobs[number], status=JobStatus.COMPLETED) for number in jobs]


def _do(
    context: HydraContext, config: DictConfig, task: TaskFunction, state: Any, number: int, overrides: Sequence[str]
) -> None:
    """Do a job in a process of Ray.

    Raises:
        Exception: raised by the job outside of its task.
    """
    setup_globals()
    Singleton.set_state(state)
    own = _job_config(context, config, number, overrides)
    HydraConfig.instance().set_config(own)
    _ = run_job(task, own, "hydra.sweep.dir", "hydra.sweep.subdir", context).return_value


def _job_config(context: HydraContext, config: DictConfig, number: int, overrides: Sequence[str]) -> DictConfig:
    own: DictConfig = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(own):
        own.hydra.job.id = f"{own.hydra.job.name}_{number}"
        own.hydra.job.num = number
    return own


def _keep_failure(config: DictConfig, number: int, error: Exception) -> None:
    """Write the error of a job that could not write it itself to the job's folder."""
    folder = Path(config.hydra.sweep.dir) / str(config.hydra.sweep.subdir)
    folder.mkdir(parents=True, exist_ok=True)
    last = traceback.format_exception_only(error)[-1].strip()
    line = str(error) if isinstance(error, LostProcess | ValueError | OSError) else last
    write_failure(folder, number, error, " ".join(line.split()), mistake=True)
