"""A sweep: every job is checked before the first starts, and one MLflow run stands above them all."""

from __future__ import annotations

import atexit
import contextlib
import functools
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from keyneurons.addresses import check_no_secrets
from keyneurons.atomic_files import write_json
from keyneurons.config.compose import composed, sweep_params
from keyneurons.config.fingerprint import activation_fingerprint, content_digest, fingerprint
from keyneurons.config.schema import Config
from keyneurons.config.targets import check_targets
from keyneurons.config.validation import validate
from keyneurons.metric_names import LONGEST_TEXT
from keyneurons.process_tag import alive, process_tag
from keyneurons.records import Site
from keyneurons.runs.membership import Sweep
from keyneurons.sweeps.launchers import check_launcher, collect_failures
from keyneurons.sweeps.resume import SWEEP_FILE, Interrupted, version_of
from keyneurons.terminal import terminal

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from keyneurons.tracking import Store


CURRENT: Sweep | None = None
"""The sweep that this process works for, if any."""

RESUMED: Interrupted | None = None
"""The sweep that this process was started to go on with, if any."""

OPEN: OpenSweep | None = None
"""The sweep that this process has opened and not yet closed."""


class Refused(BaseException):
    """A sweep that must not start; its cause says why. Hydra turns an Exception in a callback into a warning."""


class SweepCallback(Callback):
    """Opens the parent run of a sweep and tells every worker of it."""

    def __init__(self) -> None:
        self._sweep = Sweep(None)

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check what Hydra is about to write into the folder of a single run.

        Args:
            config: the run's configuration.
            kwargs: not used.

        Raises:
            Refused: a secret is in it.
        """
        try:
            check_no_secrets(OmegaConf.to_container(config, resolve=False))
        except ValueError as error:
            raise Refused from error

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check all jobs, then open the parent run.

        Args:
            config: the sweep's base configuration.
            kwargs: not used.

        Raises:
            Refused: a job cannot run as it is configured.
        """
        try:
            check_no_secrets(OmegaConf.to_container(config, resolve=False))
            check_launcher(config.hydra)
            given = list(config.hydra.overrides.task)
            configured = sweep_params(config.hydra, given)
            of_hydra: Any = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
            own = [o for o in of_hydra if not o.startswith(("hydra.mode=", "hydra.sweep."))]
            swept = [str(o.key_or_group) for o in _parse(configured + given) if o.is_sweep_override()]
            configs = [_checked(composed(job)) for job in jobs_of(configured + given)]
            jobs = check_jobs(configs)
            self._sweep = open_sweep(jobs, swept, own + given, Path(config.hydra.sweep.dir).absolute())
        except Exception as error:
            raise Refused from error

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """In the process of the job: say to which sweep it belongs.

        Args:
            config: the job's configuration.
            kwargs: not used.
        """
        global CURRENT
        CURRENT = self._sweep


def _checked(composed: DictConfig) -> Config:
    """The configuration of a job; of a sweep that is resumed, only known code may be in it."""
    if RESUMED is not None:
        check_targets(OmegaConf.to_container(composed, resolve=False), trusted=RESUMED.targets)
    return validate(composed)


@dataclass(frozen=True)
class Job:
    """A job of a sweep: its configuration, its fingerprint, what it reads and which layers of that."""

    config: Config
    fingerprint: str
    activation_fingerprint: str
    layers: tuple[int, ...]


def jobs_of(overrides: list[str]) -> list[tuple[str, ...]]:
    """The overrides of every job of a sweep, as Hydra's basic sweeper expands them."""
    batches = BasicSweeper.split_arguments(_parse(overrides), max_batch_size=None)
    return [tuple(job) for batch in batches for job in batch]


def _parse(overrides: list[str]) -> list[Override]:
    # glob(*) looks into the groups of the configuration
    return OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(overrides)


def check_jobs(configs: list[Config]) -> list[Job]:
    """Fetch the files of every model, and refuse what it, this machine or a signature does not take."""
    from keyneurons.build.experiment import build_experiment

    jobs, models = [], []
    content = functools.cache(content_digest)  # the jobs of a sweep name the same files
    for config in configs:
        read = build_experiment(config, "").read
        if (asked := (config.model, read.model.needs_head)) not in models:  # a tokenizer and weights take their time
            read.bos_id()
            read.model.check_weights()
            models.append(asked)
        model = read.model.identity
        jobs.append(
            Job(
                config, fingerprint(config, model, content), activation_fingerprint(config, model, content), read.layers
            )
        )
    return jobs


def together(jobs: list[Job]) -> dict[str, dict[Site, tuple[int, ...]]]:
    """By what is read, all layers of all sites that some job reads of it."""
    found: dict[str, dict[Site, set[int]]] = {}
    for job in jobs:
        found.setdefault(job.activation_fingerprint, {}).setdefault(job.config.site, set()).update(job.layers)
    return {
        read: {site: tuple(sorted(layers)) for site, layers in of_sites.items()} for read, of_sites in found.items()
    }


def open_sweep(jobs: list[Job], swept: list[str], overrides: list[str], folder: Path) -> Sweep:
    """Open the parent run, or again that of the sweep that is resumed; it is closed when this process ends."""
    from keyneurons.build.tracking import build_store
    from keyneurons.tracking import TrackingUnavailable, reopen

    global OPEN
    store, before = build_store(jobs[0].config.tracking), RESUMED
    parent = None if before is None else before.parent
    tags = {"folder": str(folder), "process": process_tag()}
    if len(told := shlex.join(overrides)) <= LONGEST_TEXT:  # else it is resumed by its folder
        tags["overrides"] = told
    with contextlib.suppress(TrackingUnavailable):
        client = store.connect()
        if parent is None:
            parent = store.create_run(client, f"sweep of {len(jobs)}: {' x '.join(swept)}", tags, None)
        else:
            reopen(store, parent, tags)
    folder.mkdir(parents=True, exist_ok=True)
    collect_failures(folder)  # of a sweep that was killed before it told them
    write_json(folder / SWEEP_FILE, {"parent": parent, "uri": store.uri, "overrides": overrides})
    # jobs of a sweep that had no parent run are in folders only, if they are done
    in_folders = set() if before is None or before.parent is not None else before.finished.keys()
    wanted = tuple(job.fingerprint for job in jobs if job.fingerprint not in in_folders)
    OPEN = OpenSweep(store, parent, wanted, folder)
    atexit.register(OPEN.close)
    if before is None:
        return Sweep(parent, {}, together(jobs), tuple(swept))
    _tell_resumed(before, jobs)
    return Sweep(parent, before.finished, together(jobs), tuple(swept))


def _tell_resumed(before: Interrupted, jobs: list[Job]) -> None:
    from keyneurons.runs.job import git_commit
    from keyneurons.version import __version__

    done = sum(job.fingerprint in before.finished for job in jobs)
    told = f"going on with a sweep: {done} of {len(jobs)} jobs are done"
    here = version_of({"keyneurons_version": __version__, "git_commit": git_commit()})
    if others := sorted(before.versions - {here}):
        told += f", by keyneurons {', '.join(others)}; this is {here}"
    terminal().print(told, soft_wrap=True)


@dataclass
class OpenSweep:
    """A sweep under way: the store, its parent run there, the fingerprints of its jobs, its folder."""

    store: Store
    parent: str | None
    wanted: tuple[str, ...]
    folder: Path
    closed: bool = False
    missing: int = 0  # jobs that have no run that finished, known once it is closed
    running: int = 0  # those of them that nobody waits for any more

    def compare(self) -> str:
        """Compare the runs that finished; what there is to say about it."""
        from keyneurons.sweeps.comparison import compare_sweep

        if self.parent is None:
            return ""
        try:
            page = compare_sweep(self.store, self.parent, self.folder / "comparison")
        except (OSError, ValueError) as error:
            return f"the runs were not compared: {' '.join(str(error).split())}"
        return f"compared in {page} and with run {self.parent}" if page else ""

    def close(self) -> None:
        """Close the parent run by what became of its children: FINISHED only if every job has one that finished.

        Children that are still RUNNING belong to a process that was killed, or that submitit started and left behind.
        """
        from keyneurons.tracking import TrackingRefused, TrackingUnavailable, close_children, close_parent

        if self.closed or self.parent is None:
            return
        self.closed = True
        with contextlib.suppress(TrackingUnavailable, TrackingRefused):
            statuses = close_children(self.store, self.parent, alive)
            finished = {own for own, status in statuses if status == "FINISHED"}
            missing = set(self.wanted) - finished
            self.missing = len(missing)
            self.running = sum(status == "RUNNING" for own, status in statuses if own in missing)
            killed = any(status in {"KILLED", "RUNNING"} for own, status in statuses if own in missing)
            counts = {"finished": len(set(self.wanted) & finished), "missing": len(missing)}
            for status in ("FAILED", "KILLED"):
                counts[status.lower()] = sum(own in missing and ended == status for own, ended in statuses)
            status = "FINISHED" if not missing else "KILLED" if killed else "FAILED"
            close_parent(self.store, self.parent, {f"sweep/{name}": float(n) for name, n in counts.items()}, status)
