"""A sweep: every job is checked before the first starts, and one MLflow run stands above them all."""

from __future__ import annotations

import atexit
import contextlib
from typing import TYPE_CHECKING, Any

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback

from keyneurons.config import validate

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from keyneurons.config import Config, Model
    from keyneurons.tracking import Store

PARENT: str | None = None
"""MLflow id of the sweep that this process works for, if any."""


class Refused(BaseException):
    """A sweep that must not start; its cause says why. Hydra turns an Exception in a callback into a warning."""


class SweepCallback(Callback):
    """Opens the parent run of a sweep and tells every worker its id."""

    def __init__(self) -> None:
        self._parent: str | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check all jobs, then open the parent run.

        Args:
            config: the sweep's base configuration.
            kwargs: not used.

        Raises:
            Refused: a job cannot run as it is configured.
        """
        given = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
        overrides = given + list(config.hydra.overrides.task)
        try:
            checked = [validate(compose("config", list(job))) for job in jobs_of(overrides)]
            check_jobs(checked)
            self._parent = open_parent(checked[0], overrides, len(checked))
        except Exception as error:
            raise Refused from error

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """In the process of the job: say under which run it goes.

        Args:
            config: the job's configuration.
            kwargs: not used.
        """
        global PARENT
        PARENT = self._parent


def jobs_of(overrides: list[str]) -> list[tuple[str, ...]]:
    """The overrides of every job of a sweep, as Hydra's basic sweeper expands them."""
    batches = BasicSweeper.split_arguments(_parse(overrides), max_batch_size=None)
    return [tuple(job) for batch in batches for job in batch]


def _parse(overrides: list[str]) -> list[Override]:
    # glob(*) looks into the groups of the configuration
    return OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(overrides)


def check_jobs(configs: list[Config]) -> None:
    """Fetch the files of every model, and refuse what it, this machine or a signature does not take."""
    from keyneurons.build import build_experiment

    models: list[Model] = []
    for config in configs:
        experiment = build_experiment(config, "")
        if config.model not in models:  # a tokenizer takes its time
            experiment.read.bos_id()
            models.append(config.model)


def open_parent(config: Config, overrides: list[str], n_jobs: int) -> str | None:
    """Open the parent run, and see to it that it is closed when this process ends; None where the server is away."""
    from keyneurons.build import build_store
    from keyneurons.tracking import TrackingUnavailable

    store = build_store(config.tracking)
    try:
        client = store.connect()
        swept = [str(override.key_or_group) for override in _parse(overrides) if override.is_sweep_override()]
        name = f"sweep of {n_jobs}: {' x '.join(swept)}"
        parent = store.create_run(client, name, {"overrides": " ".join(overrides)}, None)
    except TrackingUnavailable:
        return None
    atexit.register(close_parent, store, parent, n_jobs)
    return parent


def close_parent(store: Store, parent: str, n_jobs: int) -> None:
    """Close the parent run by what became of its children: FINISHED only if all of them are there and finished."""
    from keyneurons.tracking import TrackingRefused, TrackingUnavailable, reaching

    with contextlib.suppress(TrackingUnavailable, TrackingRefused), reaching(store.uri):
        client = store.connect()
        children = store.children(client, parent)
        statuses = {child.info.status for child in children}
        status = "KILLED" if "KILLED" in statuses else "FINISHED"
        if status == "FINISHED" and (statuses != {"FINISHED"} or len(children) < n_jobs):
            status = "FAILED"
        for state in ("FINISHED", "FAILED", "KILLED"):
            count = sum(child.info.status == state for child in children)
            client.log_metric(parent, f"sweep/{state.lower()}", count)
        client.set_terminated(parent, status=status)
