"""The command line: Hydra's run and sweep, a few commands beside them, and one line for a mistake."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keyneurons.addresses import masked
from keyneurons.terminal import print_any_text

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from keyneurons.sweeps.session import OpenSweep

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads that spin make a busy machine many times slower
    "OPENBLAS_NUM_THREADS": "1",  # those of numpy spin whatever one says; its share of the work is small
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a research tool calls nobody
    "TOKENIZERS_PARALLELISM": "false",  # forked workers warn about it
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # what it logs as an error it also raises, and we tell it
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # a server's client prints two lines a run
    "HYDRA_FULL_ERROR": "1",  # lets errors through to us instead of printing them itself
}

# our launchers' options bear the names of the plugins' own, which complete and check them; workers import this too
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")

logging.raiseExceptions = False  # a log on a full disk ends there; its tracebacks would hide the one line


def main() -> None:
    """Entry point of the console script.

    Raises:
        SystemExit: with the exit status, where it is not 0.
    """
    atexit.register(gc.freeze)  # or the interpreter looks through all objects again and again as it ends: 1.5 s
    gc.set_threshold(100_000)  # a third of the time of imports goes into looking for garbage among what stays
    traceback_wanted = "HYDRA_FULL_ERROR" in os.environ
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    print_any_text()
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
        from keyneurons.cli.errors import is_mistake, one_line

        if traceback_wanted or not is_mistake(error):
            raise
        _end(f"keyneurons: error: {one_line(error, sys.argv[1:])}", 1)


def _dispatch() -> None:
    if len(sys.argv) > 1:
        from keyneurons.cli.command_line import COMMANDS, split
        from keyneurons.cli.help import help_or_version

        if sys.argv[1] in COMMANDS:
            from keyneurons.cli import commands

            commands.run(sys.argv[1:])
            return
        if (text := help_or_version(sys.argv[1:], COMMANDS)) is not None:
            sys.stdout.write(text)
            return
        flags, overrides, config_dir = split(sys.argv[1:])
        if any(override.startswith("resume=") for override in overrides):
            overrides = _resume(flags, overrides, config_dir)
        sys.argv[1:] = [*flags, *overrides]  # Hydra takes none behind a flag
    _hydra()


def _resume(flags: Sequence[str], overrides: Sequence[str], config_dir: Path | None) -> list[str]:
    """Take the place of a sweep that was interrupted; returns the overrides that go on with it.

    Raises:
        ValueError: this is no sweep, there is none such, or its record asks for what a record must not.
    """
    from keyneurons.cli.commands import store_of
    from keyneurons.config.overrides import command_line_targets
    from keyneurons.sweeps import session as sweep
    from keyneurons.sweeps.resume import find_interrupted, resumed_overrides

    which = next(o for o in overrides if o.startswith("resume=")).removeprefix("resume=")
    given = [override for override in overrides if not override.startswith("resume=")]
    if not any(flag in {"-m", "--multirun"} for flag in flags):
        raise ValueError(f"resume goes on with a sweep: {shlex.join(['keyneurons', '-m', f'resume={which}'])}")
    tracking = [override for override in given if override.startswith("tracking")]
    store = store_of(tracking)
    found = replace(find_interrupted(which, store), targets=command_line_targets(given, config_dir))
    resumed = resumed_overrides(found, given, config_dir)
    sweep.RESUMED = found
    if (uri := store_of([o for o in resumed if o.startswith("tracking")]).uri) != store.uri:
        raise ValueError(
            f"the sweep kept its runs in another store; to go on there, give it: tracking.uri={masked(uri)}"
        )
    return resumed


def _hydra() -> None:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from keyneurons.cli.errors import is_mistake, one_line
    from keyneurons.config.paths import conf_folder
    from keyneurons.sweeps.launchers import is_lost, keep_failure

    if "${" in os.getcwd():
        raise ValueError("Hydra would resolve the ${ in the name of this folder; start keyneurons in another one")
    here = os.getpid()
    failed: list[BaseException] = []
    failed_jobs: dict[int, Exception] = {}
    lost = ""

    def guarded(composed: DictConfig) -> None:
        """One run or one job of a sweep, perhaps in a worker; its error is ours to tell, and the others go on."""
        try:
            job(composed)
        except Exception as error:
            run = HydraConfig.get()
            if run.mode != RunMode.MULTIRUN:
                failed.append(error)
            elif os.getpid() == here:
                failed_jobs[run.job.num] = error
                sys.stderr.write(f"keyneurons: error: #{run.job.num}: {one_line(error)}\n")
            else:
                keep_failure(
                    Path(run.runtime.output_dir), run.job.num, error, one_line(error), mistake=is_mistake(error)
                )

    try:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(guarded)()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        from keyneurons.sweeps.session import Refused  # late: --help does without all that it imports

        if isinstance(error, OSError):
            _name_folder(error)

        if isinstance(error, Refused):
            failed.append(error.__cause__ or error)
        elif is_lost(error):
            lost = f"{type(error).__name__}: the process of a job ended before the job"
        elif isinstance(error, OSError) and _open_sweep():  # a full disk where Hydra makes the next job's folder
            lost = one_line(error)
        else:
            raise
    failed += [error for error in failed_jobs.values() if not is_mistake(error)]
    if told := _end_sweep([*failed_jobs], lost):
        failed.append(ValueError(told))
    if failed:
        raise failed[0]


def _name_folder(error: OSError) -> None:
    """Put the folder that Hydra was writing into into an error that names no file, as on a full disk."""
    if error.errno is not None and error.filename is None:
        frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
        folders = [str(names["output_dir"]) for names in frames if "output_dir" in names]
        error.filename = folders[-1] if folders else None


def _open_sweep(*, done: bool = False) -> OpenSweep | None:
    """The sweep that this process has opened, if any; once ``done`` it is nobody's."""
    module = sys.modules.get("keyneurons.sweeps.session")  # not imported where there is none: it takes its time
    if module is None:
        return None
    opened: OpenSweep | None = module.OPEN
    if done:
        vars(module)["OPEN"] = None
    return opened


def _end_sweep(numbers: list[int], lost: str) -> str:
    """Close the sweep that this process has opened, if any, and compare its runs.

    Args:
        numbers: the jobs that failed in this process.
        lost: what became of a process that was lost, if one was.

    Returns:
        What is wrong with it, and how to go on.
    """
    from keyneurons.sweeps.launchers import collect_failures

    opened = _open_sweep(done=True)
    if opened is None:
        return ""
    for failure in collect_failures(opened.folder):
        numbers.append(failure.number)
        sys.stderr.write(f"{failure.traceback or ''}keyneurons: error: #{failure.number}: {failure.line}\n")
    opened.close()
    if told := opened.compare():
        sys.stdout.write(f"{told}\n")
    left = f"jobs that still run: {opened.running}; when they have ended, " if opened.running else ""
    go_on = f"{left}go on with: {shlex.join(['keyneurons', '-m', f'resume={opened.parent or opened.folder}'])}"
    if numbers and not lost:
        which = ", ".join(f"#{number}" for number in numbers)
        return f"{len(numbers)} of the jobs failed ({which}); their runs keep the log; {go_on}"
    if lost or opened.missing:
        return f"{lost or f'{opened.missing} of the jobs did not finish'}; {go_on}"
    return ""


def job(composed: DictConfig) -> None:
    """What Hydra calls for every run; everything else is done elsewhere."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from keyneurons.config.validation import validate

    hydra = HydraConfig.get()
    config = validate(composed)
    from keyneurons.runs.job import run_job
    from keyneurons.sweeps import session as sweep

    gc.freeze()  # what is imported stays: looking through a million objects again and again takes a second a job
    number = hydra.job.num if hydra.mode == RunMode.MULTIRUN else None
    choices = {group: str(option) for group, option in hydra.runtime.choices.items() if option}
    own = {group.replace("@", "."): option for group, option in choices.items() if not group.startswith("hydra/")}
    belongs = None if number is None else sweep.CURRENT
    run_job(config, Path(hydra.runtime.output_dir), own, sweep=belongs, number=number)
    if number is not None:
        gc.collect()  # Lightning's trainers hang in cycles, with their tensors; another job may follow


def _end(message: str, status: int) -> None:
    if message:
        sys.stderr.write(f"{message}\n")
    sys.exit(status)
