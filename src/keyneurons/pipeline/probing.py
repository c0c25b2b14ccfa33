"""Trains and tests the probe on the key neurons and on every control."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.analysis.sentence_bootstrap import SentenceBootstrap
from keyneurons.memo import Memo
from keyneurons.pipeline.controls.control import Case, Control, NotApplicable, Trial
from keyneurons.pipeline.evidence import ControlResult, Evidence, KeyNeuronsProbe
from keyneurons.pipeline.per_tag import TagProbe, TagSets, tag_sets
from keyneurons.pipeline.probes import Training
from keyneurons.records import SPLITS, Labels, Split

if TYPE_CHECKING:
    from keyneurons.probe.fit import ProbeTask

KEY_NEURONS = "key neurons"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Probing:
    """The training of probes with their controls.

    ``controls`` are named as in metrics. Single tags are probed along with ``tag_random_sets``
    random sets each, or not at all if that number is 0. Intervals come from ``resamples`` of the
    test sentences. ``memo`` caches results that runs share.
    """

    train: Training
    controls: Mapping[str, Control]
    tag_random_sets: int
    resamples: int
    memo: Memo


def probe_key_neurons(probing: Probing, case: Case) -> Evidence:
    """Train and test the probe on the key neurons and every control.

    Args:
        probing: The training of probes and the controls.
        case: The labelled words, their activations and the key neurons.

    Returns:
        The results on the test split, which every probe reads once.
    """
    trials, skipped = _trials(probing.controls, case)
    bootstrap = SentenceBootstrap.of(case.sentences, probing.resamples, case.seed)
    key = Trial(case.union[None])
    per_tag_sets = tag_sets(case.sets, probing.tag_random_sets, case.seed)
    everything = [key, *(trial for some in trials.values() for trial in some)]
    features = Features.of(case, [trial.columns for trial in everything if trial.features is None], per_tag_sets)
    correct: dict[Place, Bool[ndarray, "draws words"]] = {}
    own: dict[Place, Trial] = {}
    for place, trial in _placed(trials):
        if trial.columns is None:
            correct[place] = (case.labels.splits["test"].tags == trial.predictions)[None]
        elif trial.shared:
            correct[place] = _shared(probing, features, trial)
        elif trial.features is not None:
            correct[place] = _train(probing.train, features.with_values(trial), {place: trial})[place]
        else:
            own[place] = trial
    probe: KeyNeuronsProbe | None = None
    per_tag: dict[str, TagProbe] = {}
    if len(case.union):
        groups = _by_size({(KEY_NEURONS, 0): key, **own})
        tasks = [features.task(group) for group in groups]
        tag_tasks = [features.task_of_tags(sets) for sets in per_tag_sets]
        trained = probing.train(features.values, [*tasks, *tag_tasks])
        probe = KeyNeuronsProbe.of(case.union, trained[0], case.labels)
        for group, task, results in zip(groups, tasks, trained, strict=False):
            correct |= _by_trial(group, results.test_predictions == task.labels["test"])
        for sets, task, results in zip(per_tag_sets, tag_tasks, trained[len(tasks) :], strict=True):
            per_tag |= sets.measured(results.test_predictions, task.labels["test"], bootstrap)
    controls = {
        name: _result(probing.controls[name], trials[name], [correct[name, i] for i in range(len(trials[name]))])
        for name in trials
        if (name, 0) in correct
    }
    union = features.columns("train", case.union)
    return Evidence(case.labels.names, probe, controls, per_tag, union, bootstrap, case.unseen, skipped)


Place = tuple[str, int]
"""A trial by the name of its control and its number."""


def _trials(controls: Mapping[str, Control], case: Case) -> tuple[dict[str, tuple[Trial, ...]], dict[str, str]]:
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


def _placed(trials: Mapping[str, Sequence[Trial]]) -> list[tuple[Place, Trial]]:
    return [((name, i), trial) for name, some in trials.items() for i, trial in enumerate(some)]


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


@dataclass(frozen=True)
class Features:
    """The activations of all neurons used by any probe, on the labelled words of every split."""

    labels: Labels
    needed: Int[ndarray, " columns"]
    values: Mapping[Split, Float[Tensor, "_words columns"]]

    @classmethod
    def of(
        cls, case: Case, columns: Sequence[Int[ndarray, "_draws _features"] | None], per_tag_sets: Sequence[TagSets]
    ) -> Features:
        """Read the neurons of any of these columns."""
        drawn = [each.ravel() for each in columns if each is not None] + [sets.all.ravel() for sets in per_tag_sets]
        needed = np.unique(np.concatenate(drawn))
        return cls(case.labels, needed, case.activations.columns(case.labels, needed))

    def with_values(self, trial: Trial) -> Features:
        """The trial's own features in place of the activations."""
        assert trial.features is not None
        return Features(self.labels, np.arange(trial.features["train"].shape[1]), trial.features)

    def columns(self, split: Split, columns: Int[ndarray, " neurons"]) -> Float[ndarray, "words neurons"]:
        """The activations of some neurons (ascending) on the words of one split."""
        if len(columns) == len(self.needed):
            return self.values[split].numpy()
        return self.values[split][:, np.searchsorted(self.needed, columns)].numpy()

    def task(self, group: Mapping[Place, Trial]) -> ProbeTask:
        """The probes of trials that have equally many neurons."""
        from keyneurons.probe.fit import ProbeTask

        columns = np.concatenate([trial.columns for trial in group.values() if trial.columns is not None])
        classes = {split: torch.cat([self._classes(trial, split) for trial in group.values()]) for split in SPLITS}
        return ProbeTask(np.searchsorted(self.needed, columns), classes, len(self.labels.names))

    def task_of_tags(self, sets: TagSets) -> ProbeTask:
        """The binary probes of single tags."""
        from keyneurons.probe.fit import ProbeTask

        return ProbeTask(np.searchsorted(self.needed, sets.all), sets.classes(self.labels), 2)

    def _classes(self, trial: Trial, split: Split) -> Int[Tensor, "draws words"]:
        tags = self.labels.splits[split].tags if trial.tags is None else trial.tags[split]
        return torch.as_tensor(tags).long().repeat(trial.draws, 1)


def _by_size(trials: Mapping[Place, Trial]) -> list[dict[Place, Trial]]:
    """Group trials by the number of neurons of their probes; a group is trained as one task."""
    groups: dict[int, dict[Place, Trial]] = {}
    for place, trial in trials.items():
        if trial.columns is not None:
            groups.setdefault(trial.columns.shape[1], {})[place] = trial
    return list(groups.values())


def _train(
    train: Training, features: Features, group: Mapping[Place, Trial]
) -> dict[Place, Bool[ndarray, "_draws words"]]:
    """Train the probes of trials of one size; returns the test words that they get right."""
    task = features.task(group)
    return _by_trial(group, train(features.values, [task])[0].test_predictions == task.labels["test"])


def _by_trial(
    group: Mapping[Place, Trial], right: Bool[Tensor, "draws words"]
) -> dict[Place, Bool[ndarray, "_draws words"]]:
    """The rows of each trial, given the consecutive draws of all trials."""
    parts = torch.split(right, [trial.draws for trial in group.values()])
    return {place: part.numpy() for place, part in zip(group, parts, strict=True)}


def _shared(probing: Probing, features: Features, trial: Trial) -> Bool[ndarray, "draws words"]:
    """The words that a trial independent of the key neurons gets right, trained once."""
    assert trial.columns is not None
    task = features.task({("", 0): trial})
    digest = hashlib.blake2b(repr((task.n_classes, probing.train.identity)).encode())
    for split in SPLITS:
        for values in (task.labels[split].numpy(), features.columns(split, np.unique(trial.columns)), trial.columns):
            digest.update(f"{values.shape} {values.dtype}".encode())
            digest.update(np.ascontiguousarray(values).data)
    right: Bool[ndarray, "draws words"] = probing.memo.get(
        digest.hexdigest(), lambda: _train(probing.train, features, {("", 0): trial})["", 0]
    )
    return right
