"""The jobs of a sweep: every one is composed and checked before the first starts."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
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
from keyneurons.records import Site
from keyneurons.sweeps.launchers import check_launcher

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class Job:
    """A job of a sweep: its configuration, its fingerprint, what it reads and which layers of that."""

    config: Config
    fingerprint: str
    activation_fingerprint: str
    layers: tuple[int, ...]


@dataclass(frozen=True)
class SweepJobs:
    """All jobs of a sweep, the keys and groups that differ between them, and the overrides that make them."""

    jobs: tuple[Job, ...]
    swept: tuple[str, ...]
    overrides: tuple[str, ...]


def sweep_jobs(base: DictConfig, *, targets: Collection[str] | None = None) -> SweepJobs:
    """The jobs of a sweep, all of them checked; inside ``composing``.

    Args:
        base: the sweep's base configuration, with Hydra's part.
        targets: of a sweep that is resumed, the targets that this command line names: only known code may be beside
            them.

    Raises:
        ValueError: a job cannot run as it is configured, or the launcher is not installed.
    """
    check_launcher(base.hydra)
    given = list(base.hydra.overrides.task)
    configured = sweep_params(base.hydra, given)
    of_hydra: Any = OmegaConf.to_container(base.hydra.overrides.hydra, resolve=False)
    own = [text for text in of_hydra if not text.startswith(("hydra.mode=", "hydra.sweep."))]
    swept = [str(each.key_or_group) for each in _parsed(configured + given) if each.is_sweep_override()]
    configs = [_checked(composed(job), targets) for job in jobs_of(configured + given)]
    return SweepJobs(tuple(check_jobs(configs)), tuple(swept), (*own, *given))


def jobs_of(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """The overrides of every job of a sweep, as Hydra's basic sweeper expands them."""
    batches = BasicSweeper.split_arguments(_parsed(overrides), max_batch_size=None)
    return [tuple(job) for batch in batches for job in batch]


def check_jobs(configs: Sequence[Config]) -> list[Job]:
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


def together(jobs: Sequence[Job]) -> dict[str, dict[Site, tuple[int, ...]]]:
    """By what is read, all layers of all sites that some job reads of it."""
    found: dict[str, dict[Site, set[int]]] = {}
    for job in jobs:
        found.setdefault(job.activation_fingerprint, {}).setdefault(job.config.site, set()).update(job.layers)
    return {
        read: {site: tuple(sorted(layers)) for site, layers in of_sites.items()} for read, of_sites in found.items()
    }


def _parsed(overrides: Sequence[str]) -> list[Override]:
    # glob(*) looks into the groups of the configuration
    return OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(list(overrides))


def _checked(composed: DictConfig, targets: Collection[str] | None) -> Config:
    if targets is not None:
        check_targets(OmegaConf.to_container(composed, resolve=False), trusted=targets)
    return validate(composed)
