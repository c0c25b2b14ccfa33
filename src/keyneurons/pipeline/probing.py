"""Trains and tests the probe on the key neurons and on every control."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.memo import Memo
from keyneurons.pipeline.controls.control import Case, Control, Trial
from keyneurons.pipeline.evidence import ControlResult, Evidence, KeyNeuronsProbe
from keyneurons.pipeline.per_tag import TagProbe, TagSets, tag_sets
from keyneurons.pipeline.probes import Training
from keyneurons.records import SPLITS, Labels, Split

if TYPE_CHECKING:
    from keyneurons.probe.fit import ProbeTask

KEY_NEURONS = "key neurons"


@dataclass(frozen=True)
class Probing:
    """The training of probes with their controls.

    ``controls`` are named as in metrics. Single tags are probed along with ``tag_random_sets``
    random sets each, or not at all if that number is 0. ``memo`` caches results that runs share.
    """

    train: Training
    controls: Mapping[str, Control]
    tag_random_sets: int
    memo: Memo


def probe_key_neurons(probing: Probing, case: Case) -> Evidence:
    """Train and test the probe on the key neurons and every control.

    Args:
        probing: The training of probes and the controls.
        case: The labelled words, their activations and the key neurons.

    Returns:
        The results on the test split, which every probe reads once.
    """
    labels, key = case.labels, Trial(case.union[None])
    trials = {name: control(case) for name, control in probing.controls.items()}
    trials = {name: trial for name, trial in trials.items() if trial.columns is None or trial.columns.size}
    per_tag_sets = tag_sets(case.sets, probing.tag_random_sets, case.seed)
    features = Features.of(case, [key.columns, *(trial.columns for trial in trials.values())], per_tag_sets)
    accuracy = {name: _predicted(trial, labels) for name, trial in trials.items() if trial.columns is None}
    accuracy |= {name: _shared(probing, features, trial) for name, trial in trials.items() if trial.shared}
    probe: KeyNeuronsProbe | None = None
    per_tag: dict[str, TagProbe] = {}
    if len(case.union):
        groups = _by_size({KEY_NEURONS: key} | {name: trial for name, trial in trials.items() if name not in accuracy})
        tasks = [features.task(group) for group in groups]
        tag_tasks = [features.task_of_tags(sets) for sets in per_tag_sets]
        trained = probing.train(features.values, [*tasks, *tag_tasks])
        probe = KeyNeuronsProbe.of(case.union, trained[0], labels)
        for group, task, results in zip(groups, tasks, trained, strict=False):
            accuracy |= _by_trial(group, results.test_predictions == task.labels["test"])
        for sets, task, results in zip(per_tag_sets, tag_tasks, trained[len(tasks) :], strict=True):
            per_tag |= sets.measured(results.test_predictions, task.labels["test"])
    controls = {
        name: ControlResult(control.label, control.contrast, accuracy[name])
        for name, control in probing.controls.items()
        if name in accuracy
    }
    return Evidence(labels.names, probe, controls, per_tag, features.columns("train", case.union))


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

    def columns(self, split: Split, columns: Int[ndarray, " neurons"]) -> Float[ndarray, "words neurons"]:
        """The activations of some neurons (ascending) on the words of one split."""
        if len(columns) == len(self.needed):
            return self.values[split].numpy()
        return self.values[split][:, np.searchsorted(self.needed, columns)].numpy()

    def task(self, group: Mapping[str, Trial]) -> ProbeTask:
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


def _by_size(trials: Mapping[str, Trial]) -> list[dict[str, Trial]]:
    """Group trials by the number of neurons of their probes; a group is trained as one task."""
    groups: dict[int, dict[str, Trial]] = {}
    for name, trial in trials.items():
        if trial.columns is not None:
            groups.setdefault(trial.columns.shape[1], {})[name] = trial
    return list(groups.values())


def _by_trial(group: Mapping[str, Trial], right: Bool[Tensor, "draws words"]) -> dict[str, Float[ndarray, " _draws"]]:
    """Accuracies of the draws of each trial, given the consecutive draws of all trials."""
    parts = torch.split(right.double().mean(dim=1), [trial.draws for trial in group.values()])
    return {name: part.numpy() for name, part in zip(group, parts, strict=True)}


def _predicted(trial: Trial, labels: Labels) -> Float[ndarray, " draws"]:
    return np.array([(labels.splits["test"].tags == trial.predictions).mean()])


def _shared(probing: Probing, features: Features, trial: Trial) -> Float[ndarray, " draws"]:
    """Accuracies of a trial independent of the key neurons, trained once for the same words."""
    assert trial.columns is not None
    task = features.task({"": trial})
    digest = hashlib.blake2b(repr((task.n_classes, probing.train.identity)).encode())
    for split in SPLITS:
        for values in (task.labels[split].numpy(), features.columns(split, np.unique(trial.columns)), trial.columns):
            digest.update(f"{values.shape} {values.dtype}".encode())
            digest.update(np.ascontiguousarray(values).data)

    def trained() -> Float[ndarray, " draws"]:
        results = probing.train(features.values, [task])[0]
        return _by_trial({"": trial}, results.test_predictions == task.labels["test"])[""]

    accuracies: Float[ndarray, " draws"] = probing.memo.get(digest.hexdigest(), trained)
    return accuracies
