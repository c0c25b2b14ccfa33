"""The jobs of a sweep; all are composed and validated before the first starts."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from keyneurons.config.compose import composed, sweep_params
from keyneurons.config.fingerprint import activation_fingerprint, content_digest, fingerprint
from keyneurons.config.schema import Config
from keyneurons.config.targets import check_targets
from keyneurons.config.validation import validate
from keyneurons.progress import stage
from keyneurons.records import Site
from keyneurons.sweeps.launchers import check_launcher

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class Job:
    """A job of a sweep; ``reading`` is its activation fingerprint, ``layers`` its layers."""

    config: Config
    fingerprint: str
    activation_fingerprint: str
    layers: tuple[int, ...]


@dataclass(frozen=True)
class SweepJobs:
    """The jobs of a sweep, its overrides, and the values of its swept keys and groups.

    ``params`` has these values by the names of the jobs' params: ``choice.GROUP`` for a group.
    """

    jobs: tuple[Job, ...]
    swept: tuple[str, ...]
    overrides: tuple[str, ...]
    params: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def sweep_jobs(base: DictConfig, *, targets: Collection[str] | None = None) -> SweepJobs:
    """Compose and validate the jobs of a sweep; must be called inside ``composing``.

    Args:
        base: the sweep's base configuration, with Hydra's part.
        targets: for a resumed sweep, the targets on the command line; all other targets must be
            those of the package.

    Raises:
        ValueError: if the configuration of a job is invalid, or the launcher is not installed.
    """
    check_launcher(base.hydra)
    overrides = list(base.hydra.overrides.task)
    configured = sweep_params(base.hydra, overrides)
    of_hydra: Any = OmegaConf.to_container(base.hydra.overrides.hydra, resolve=False)
    launcher = [text for text in of_hydra if not text.startswith(("hydra.mode=", "hydra.sweep."))]
    swept = [str(each.key_or_group) for each in _parse(configured + overrides) if each.is_sweep_override()]
    jobs = jobs_of(configured + overrides)
    configs = []
    with stage("composing the jobs", total=len(jobs), unit="jobs") as progress:
        for job in jobs:
            configs.append(_validate(composed(job), targets))
            progress.advance()
    return SweepJobs(tuple(check_jobs(configs)), tuple(swept), (*launcher, *overrides), _values(swept, jobs))


def jobs_of(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """The overrides of each job of a sweep, as Hydra's basic sweeper expands them."""
    batches = BasicSweeper.split_arguments(_parse(overrides), max_batch_size=None)
    return [tuple(job) for batch in batches for job in batch]


def check_jobs(configs: Sequence[Config]) -> list[Job]:
    """Download the models of all jobs, and check each configuration against model and machine."""
    with stage("loading libraries"):
        from keyneurons.build.experiment import build_experiment

    jobs, models = [], []
    content = functools.cache(content_digest)  # the jobs of a sweep name the same files
    with stage("checking the jobs", total=len(configs), unit="jobs") as progress:
        for config in configs:
            experiment = build_experiment(config, "")
            read = experiment.read
            if (model_key := (config.model, read.model.needs_head)) not in models:  # loading them is slow
                read.bos_id()
                read.model.check_weights()
                models.append(model_key)
            model = read.model.identity
            own = fingerprint(config, model, content, experiment.given_sets, read.basis.digest)
            jobs.append(Job(config, own, activation_fingerprint(config, model, content), read.layers))
            progress.advance()
    return jobs


def together(jobs: Sequence[Job]) -> dict[str, dict[Site, tuple[int, ...]]]:
    """The layers of each site that any job reads, by activation fingerprint (``Job.reading``)."""
    layers_of: dict[str, dict[Site, set[int]]] = {}
    for job in jobs:
        layers_of.setdefault(job.activation_fingerprint, {}).setdefault(job.config.site, set()).update(job.layers)
    return {read: {site: tuple(sorted(layers)) for site, layers in sites.items()} for read, sites in layers_of.items()}


def _values(swept: Sequence[str], jobs: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The values of each swept key or group in the order of the jobs, by the name of the param."""
    loader = GlobalHydra.instance().config_loader()
    values: dict[str, dict[str, None]] = {key: {} for key in swept}
    for key, _, value in (override.lstrip("+").partition("=") for job in jobs for override in job):
        values.get(key, {})[value] = None
    return {f"choice.{key}" if loader.get_group_options(key) else key: tuple(own) for key, own in values.items()}


def _parse(overrides: Sequence[str]) -> list[Override]:
    # the loader expands glob(*) to the options of a config group
    return OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(list(overrides))


def _validate(composed: DictConfig, targets: Collection[str] | None) -> Config:
    if targets is not None:
        check_targets(OmegaConf.to_container(composed, resolve=False), trusted=targets)
    return validate(composed)
