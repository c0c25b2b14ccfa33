"""Reading ahead of a sweep with ``activations.store=moments``: two passes serve all its jobs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int
from numpy import ndarray

if TYPE_CHECKING:
    from keyneurons.pipeline.activations import SummedActivations
    from keyneurons.pipeline.dataset import LabelledText
    from keyneurons.pipeline.experiment import Experiment
    from keyneurons.records import Site
    from keyneurons.sweeps.jobs import Job

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"

log = logging.getLogger(__name__)


def read_ahead(jobs: Sequence[Job]) -> None:
    """Read the moments and the columns that some jobs need, before the first of them starts.

    Jobs with the same activations share one pass for the moments of all sites, layers and taggings,
    and one for the columns of all their probes. Attribution methods read for themselves. Errors of
    a job are left to the job.
    """
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        if job.config.activations.store == "moments" and job.config.basis.kind == "neurons":
            groups.setdefault(job.activation_fingerprint, []).append(job)
    for group in groups.values():
        if len(group) > 1:
            _read_group(group)


def _read_group(jobs: Sequence[Job]) -> None:
    """Read for jobs that differ neither in model nor in text."""
    from keyneurons.build.experiment import build_experiment
    from keyneurons.pipeline.dataset import load_text
    from keyneurons.sweeps.jobs import together

    [places] = together(jobs).values()
    runs = [run for run in (build_experiment(job.config, "") for job in jobs) if run.attribute is None]
    if not runs:
        return
    model, text = runs[0].read.model, load_text(runs[0].dataset, runs[0].read)
    runs = [replace(run, read=replace(run.read, model=model, prefetch=places)) for run in runs]
    activations = list(_with_common_plan(runs, text))
    wanted: dict[Site, list[Int[ndarray, "_columns 2"]]] = {}
    for run, own in zip(runs, activations, strict=True):
        try:
            wanted.setdefault(run.read.site, []).append(own.named(_columns(run, text, own)))
        except ValueError as error:  # the job itself reports it
            log.info("columns of a job cannot be read ahead: %s", error)
    activations[0].single.require({site: np.unique(np.concatenate(own), axis=0) for site, own in wanted.items()})


def _with_common_plan(runs: Sequence[Experiment], text: LabelledText) -> Iterator[SummedActivations]:
    """The activations of every run, with the taggings of all runs as their plan."""
    from keyneurons.pipeline.activations import SummedActivations

    every = [run.activations(text) for run in runs]
    summed = [own for own in every if isinstance(own, SummedActivations)]
    planned = {words.digest: words for own in summed for words in own.moments.planned}
    for own in summed:
        yield replace(own, moments=replace(own.moments, planned=tuple(planned.values())))


def _columns(run: Experiment, text: LabelledText, activations: SummedActivations) -> Int[ndarray, " columns"]:
    """The neurons that a run probes, on its words and on words of unseen types."""
    from keyneurons.pipeline.probing import columns_of
    from keyneurons.pipeline.unseen_words import labels_apart

    every = [text.labels]
    if run.unseen is not None:
        every.append(labels_apart(run.unseen, text.labels, run.seed))
    columns = []
    for labels in every:
        key_neurons = run.key_neurons(text, labels, activations)
        columns.append(columns_of(run.probing, run.case(text, labels, key_neurons, activations)))
    return np.unique(np.concatenate(columns))
