"""The command line: Hydra's run and sweep, a few commands beside them, and one line for a mistake."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from keyneurons.sweep import OpenSweep

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads that spin make a busy machine many times slower
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a research tool calls nobody
    "TOKENIZERS_PARALLELISM": "false",  # forked workers warn about it
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "HYDRA_FULL_ERROR": "1",  # lets errors through to us instead of printing them itself
}


def main() -> None:
    """Entry point of the console script.

    Raises:
        SystemExit: with the exit status, where it is not 0.
    """
    traceback_wanted = "HYDRA_FULL_ERROR" in os.environ
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a batch system's end is told like Ctrl-C
    try:
        _dispatch()
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning turns Ctrl-C into an exit
            _end("interrupted", 130)
        raise
    except BrokenPipeError:
        _end("", 1)
    except Exception as error:
        from keyneurons.mistakes import is_mistake, one_line

        if traceback_wanted or not is_mistake(error):
            raise
        _end(f"keyneurons: error: {one_line(error, sys.argv[1:])}", 1)


def _dispatch() -> None:
    if len(sys.argv) > 1:
        from keyneurons import commands

        if sys.argv[1] in commands.COMMANDS:
            commands.run(sys.argv[1:])
            return
        if any(argument.startswith("resume=") for argument in sys.argv[1:]):
            _resume()
    _hydra()


def _resume() -> None:
    """Take the place of a sweep that was interrupted.

    Raises:
        ValueError: this is no sweep, or there is none such.
    """
    from keyneurons import sweep
    from keyneurons.commands import store_of
    from keyneurons.resume import find_interrupted, resumed_arguments

    arguments = sys.argv[1:]
    which = next(a for a in arguments if a.startswith("resume=")).removeprefix("resume=")
    if not {"-m", "--multirun"} & set(arguments):
        raise ValueError(f"resume goes on with a sweep: keyneurons -m resume={which}")
    tracking = [argument for argument in arguments if argument.startswith("tracking")]
    sweep.RESUMED = found = find_interrupted(which, store_of(tracking))
    sys.argv[1:] = resumed_arguments(found, arguments)


def _hydra() -> None:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from keyneurons.mistakes import is_mistake, one_line
    from keyneurons.paths import conf_folder

    here = os.getpid()
    failed: list[BaseException] = []
    failed_jobs: dict[int, Exception] = {}

    def guarded(composed: DictConfig) -> None:
        """One run or one job of a sweep; its error is ours to tell, unless it has to travel home from a worker."""
        try:
            job(composed)
        except Exception as error:
            if os.getpid() != here:
                raise
            run = HydraConfig.get()
            if run.mode == RunMode.MULTIRUN:
                failed_jobs[run.job.num] = error
                sys.stderr.write(f"keyneurons: error: #{run.job.num}: {one_line(error)}\n")
            else:
                failed.append(error)

    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(guarded)()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        from keyneurons.sweep import Refused  # late: --help does without all that it imports

        if not isinstance(error, Refused):
            opened = _end_sweep()
            if opened and isinstance(error, Exception) and is_mistake(error):  # a worker's, or that of a lost worker
                raise ValueError(f"{one_line(error)}; go on with: keyneurons -m resume={opened}") from error
            raise
        failed.append(error.__cause__ or error)
    opened = _end_sweep()
    if failed_jobs:
        numbers = ", ".join(f"#{number}" for number in failed_jobs)
        told = ValueError(
            f"{len(failed_jobs)} of the jobs failed ({numbers}); their runs keep the log; go on with: "
            f"keyneurons -m resume={opened}"
        )
        failed.append(next((error for error in failed_jobs.values() if not is_mistake(error)), told))
    if failed:
        raise failed[0]


def _end_sweep() -> str:
    """Close the sweep that this process has opened, if any, and compare its runs; how to name it to go on with it."""
    module = sys.modules.get("keyneurons.sweep")
    if module is None or module.OPEN is None:
        return ""
    opened: OpenSweep = module.OPEN
    opened.close()
    if told := opened.compare():
        sys.stdout.write(f"{told}\n")
    return opened.parent or str(opened.folder)


def job(composed: DictConfig) -> None:
    """What Hydra calls for every run; everything else is done elsewhere."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from keyneurons.config import validate

    hydra = HydraConfig.get()
    config = validate(composed)
    from keyneurons import sweep
    from keyneurons.job import run_job

    number = hydra.job.num if hydra.mode == RunMode.MULTIRUN else None
    choices = {group: str(option) for group, option in hydra.runtime.choices.items() if option}
    own = {group.replace("@", "."): option for group, option in choices.items() if not group.startswith("hydra/")}
    belongs = None if number is None else sweep.CURRENT
    run_job(config, Path(hydra.runtime.output_dir), own, sweep=belongs, number=number)


def _end(message: str, status: int) -> None:
    if message:
        sys.stderr.write(f"{message}\n")
    sys.exit(status)
