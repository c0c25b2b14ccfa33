"""The command ``extract``: fills the activation cache before a sweep, reading each text once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from keyneurons.activations.ray_workers import RayWorkers
from keyneurons.build.dataset import build_dataset
from keyneurons.build.reader import build_reader
from keyneurons.cluster.calls import LostProcess
from keyneurons.cluster.options import RayOptions
from keyneurons.config.compose import base_config, composed, composing, configured_sweep
from keyneurons.config.overrides import check_overrides
from keyneurons.config.schema import Config
from keyneurons.config.validation import validate
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.sweeps.jobs import Job, check_jobs, jobs_of, together
from keyneurons.sweeps.launchers import chosen_ray, launcher_ready


def extract_for(overrides: Sequence[str]) -> Iterator[str]:
    """Extract the activations that the jobs of a sweep, or a single run, read.

    Args:
        overrides: those of the sweep, such as ``layer=4,8 site=mlp,residual``.

    Yields:
        One line for each site: model, layers, number of words, folder in the cache.

    Raises:
        ValueError: on Ray, a worker did not finish.
    """
    check_overrides(overrides)
    with composing():
        jobs_overrides = jobs_of([*configured_sweep(overrides), *overrides])
        configs = [validate(composed(job)) for job in jobs_overrides]
        hydra = base_config(overrides, "config").hydra
    with launcher_ready(hydra):
        try:
            yield from _extract(check_jobs(configs), chosen_ray(hydra))
        except LostProcess as error:
            raise ValueError(f"a worker did not finish: {error}; the same command resumes the extraction") from error


def _extract(jobs: Sequence[Job], options: RayOptions | None) -> Iterator[str]:
    places = together(jobs)
    for job in {(job.activation_fingerprint, job.config.site): job for job in jobs}.values():
        config, of_sites = job.config, places[job.activation_fingerprint]
        read = replace(build_reader(config).of_neurons(), layers=of_sites[config.site], prefetch=of_sites)
        if options is not None:
            read = replace(read, processes=_ray_workers(config, options))
        treebank = build_dataset(config.dataset, config.cache.expanduser(), config.seed).load(read)
        StoredActivations.of(read, treebank)
        if not read.processes.first:
            continue
        words = sum(treebank.n_words(split) for split in treebank.splits)
        yield (
            f"{config.site} of {read.model.files.id}, layers {', '.join(map(str, read.layers))}, read at "
            f"{config.read_at}: {words} words of {treebank.id} in {read.store.folder}"
        )


def _ray_workers(config: Config, options: RayOptions) -> RayWorkers:
    """The workers of an extraction on Ray.

    Raises:
        ValueError: the configuration names devices, which Ray assigns.
    """
    chosen = {
        "activations.devices": str(config.activations.devices) != "1",
        "activations.num_nodes": config.activations.num_nodes != 1,
        "model.device": config.model.device != "auto",
        "model.device_map": config.model.device_map is not None,
    }
    if names := [name for name, is_set in chosen.items() if is_set]:
        raise ValueError(f"Ray assigns devices by hydra.launcher.num_gpus and workers; remove {', '.join(names)}")
    return RayWorkers(options)
