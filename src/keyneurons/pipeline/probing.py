"""Trains and tests the probe on the key neurons and on every control."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from keyneurons.analysis.sentence_bootstrap import SentenceBootstrap
from keyneurons.pipeline.controls.control import Case, Control, NotApplicable, Trial
from keyneurons.pipeline.evidence import ControlResult, Evidence, KeyNeuronsProbe
from keyneurons.pipeline.per_tag import TagProbe, tag_sets
from keyneurons.pipeline.probes import Training
from keyneurons.pipeline.trial_results import ResultStore
from keyneurons.pipeline.trials import Place, key_task, train_trials

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Probing:
    """The training of probes with their controls.

    ``controls`` are named as in metrics. Single tags are probed along with ``tag_random_sets``
    random sets each, or not at all if that number is 0. Intervals come from ``resamples`` of the
    test sentences. ``results`` is the cache of results that runs share.
    """

    train: Training
    controls: Mapping[str, Control]
    tag_random_sets: int
    resamples: int
    results: ResultStore


def probe_key_neurons(probing: Probing, case: Case) -> Evidence:
    """Train and test the probe on the key neurons and every control.

    Args:
        probing: The training of probes and the controls.
        case: The labelled words, their activations and the key neurons.

    Returns:
        The results on the test split, which every probe reads once.
    """
    trials, skipped = trials_of(probing.controls, case)
    bootstrap = SentenceBootstrap.of(case.sentences, probing.resamples, case.seed)
    per_tag_sets = tag_sets(case.sets, probing.tag_random_sets, case.seed)
    tasks = [sets.task(case.labels) for sets in per_tag_sets]
    key = [key_task(case)] if len(case.union) else []
    trained = train_trials(probing.train, case, _placed(trials), [*key, *tasks])
    probe = KeyNeuronsProbe.of(case.union, trained.probes[0], case.labels) if key else None
    per_tag: dict[str, TagProbe] = {}
    for sets, task, results in zip(per_tag_sets, tasks, trained.probes[len(key) :], strict=True):
        per_tag |= sets.measured(results.test_predictions, task.labels["test"], bootstrap)
    controls = {
        name: _result(probing.controls[name], some, [trained.correct[name, i] for i in range(len(some))])
        for name, some in trials.items()
    }
    union = case.activations.columns(case.labels, case.union)["train"].numpy()
    return Evidence(case.labels.names, probe, controls, per_tag, union, bootstrap, case.unseen, skipped)


def columns_of(probing: Probing, case: Case) -> Int[ndarray, " columns"]:
    """The neurons that the probes of a case read, as ascending positions in the layers."""
    trials, _ = trials_of(probing.controls, case)
    read = [trial.columns for some in trials.values() for trial in some if trial.features is None]
    sets = [own.all for own in tag_sets(case.sets, probing.tag_random_sets, case.seed)]
    every = [case.union, *(columns for columns in read if columns is not None), *sets]
    return np.unique(np.concatenate([columns.ravel() for columns in every]))


def trials_of(controls: Mapping[str, Control], case: Case) -> tuple[dict[str, tuple[Trial, ...]], dict[str, str]]:
    """The trials of every control with neurons, and the reasons why others are not measured."""
    trials: dict[str, tuple[Trial, ...]] = {}
    skipped: dict[str, str] = {}
    for name, control in controls.items():
        try:
            made = control(case)
        except NotApplicable as reason:
            skipped[name] = f"{control.label}: {reason}"
            log.info("control.%s is not measured: %s", name, reason)
            continue
        some = made if isinstance(made, tuple) else (made,)
        if all(trial.columns is None or trial.columns.size for trial in some):
            trials[name] = some
    return trials, skipped


def _placed(trials: Mapping[str, Sequence[Trial]]) -> dict[Place, Trial]:
    return {(name, i): trial for name, some in trials.items() for i, trial in enumerate(some)}


def _result(
    control: Control, trials: Sequence[Trial], correct: Sequence[Bool[ndarray, "_draws words"]]
) -> ControlResult:
    """Join the trials of a control; with baselines, each trial is one draw with its random sets."""
    facts, note = {**trials[0].facts}, trials[0].note
    if not trials[0].baselines:
        joined = np.concatenate(correct)
        return ControlResult(control.label, control.contrast, control.role, joined, None, facts, note)
    draws, baselines = np.stack([rows[0] for rows in correct]), np.stack([rows[1:] for rows in correct])
    facts["advantage"] = float(draws.mean() - baselines.mean())
    return ControlResult(control.label, control.contrast, control.role, draws, baselines, facts, note)
