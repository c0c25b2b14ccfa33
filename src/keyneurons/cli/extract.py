"""The command ``extract``: fills the activation cache before a sweep, reading each text once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from keyneurons.build.dataset import build_dataset
from keyneurons.build.reader import build_reader
from keyneurons.config.compose import composed, composing, configured_sweep
from keyneurons.config.overrides import check_overrides
from keyneurons.config.validation import validate
from keyneurons.pipeline.activations import StoredActivations
from keyneurons.sweeps.jobs import check_jobs, jobs_of, together


def extract_for(overrides: Sequence[str]) -> Iterator[str]:
    """Extract the activations that the jobs of a sweep, or a single run, read.

    Args:
        overrides: those of the sweep, such as ``layer=4,8 site=mlp,residual``.

    Yields:
        One line for each site: model, layers, number of words, folder in the cache.
    """
    check_overrides(overrides)
    with composing():
        jobs_overrides = jobs_of([*configured_sweep(overrides), *overrides])
        configs = [validate(composed(job)) for job in jobs_overrides]
    jobs = check_jobs(configs)
    places = together(jobs)
    for job in {(job.activation_fingerprint, job.config.site): job for job in jobs}.values():
        config, of_sites = job.config, places[job.activation_fingerprint]
        read = replace(build_reader(config), layers=of_sites[config.site], prefetch=of_sites)
        treebank = build_dataset(config.dataset, config.cache.expanduser(), config.seed).load(read)
        StoredActivations.of(read, treebank)
        if not read.processes.first:
            continue
        words = sum(treebank.n_words(split) for split in treebank.splits)
        yield (
            f"{config.site} of {read.model.files.id}, layers {', '.join(map(str, read.layers))}, read at "
            f"{config.read_at}: {words} words of {treebank.id} in {read.store.folder}"
        )
