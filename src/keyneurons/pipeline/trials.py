"""The training of trials: results in the cache are loaded, all others are trained in one fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy import ndarray

from keyneurons.pipeline.controls.control import Case, Trial
from keyneurons.pipeline.probes import Training
from keyneurons.pipeline.trial_results import result_key
from keyneurons.records import SPLITS, Labels, Split

if TYPE_CHECKING:
    from keyneurons.probe.fit import ProbeResults, ProbeTask

Place = tuple[str, int]
"""A trial by the name of its control and its number."""


@dataclass(frozen=True)
class Trained:
    """The test words that each trial gets right, and the probes of the other tasks, in order."""

    correct: Mapping[Place, Bool[ndarray, "_draws words"]]
    probes: Sequence[ProbeResults]


def train_trials(
    train: Training, case: Case, trials: Mapping[Place, Trial], others: Sequence[ProbeTask] = ()
) -> Trained:
    """Measure some trials on the test words.

    Args:
        train: The training of probes.
        case: The labelled words with their activations, and the cache of results.
        trials: The trials by place.
        others: Further probes to train in the same fit, whose weights are needed; ``columns`` are
            positions in the concatenated layers.

    Returns:
        The results; those of trials come from the cache or are put there.
    """
    labels, test = case.labels, case.labels.splits["test"].tags
    keys = {place: _key(train, case, trial) for place, trial in trials.items()}
    correct: dict[Place, Bool[ndarray, "_draws words"]] = {}
    for place, trial in trials.items():
        if trial.predictions is not None:
            correct[place] = (test == trial.predictions)[None]
        elif (stored := case.results.load(keys[place])) is not None:
            correct[place] = stored
        elif trial.features is not None:
            correct[place] = _on_own_features(train, trial, labels)
            case.results.save(keys[place], correct[place])
    groups = _by_size({place: trial for place, trial in trials.items() if place not in correct})
    tasks = [*others, *(_task(list(group.values()), labels) for group in groups)]
    probes = _train_on_activations(train, case, tasks) if tasks else []
    for group, task, results in zip(groups, tasks[len(others) :], probes[len(others) :], strict=True):
        right = np.split(_right(results, task), np.cumsum([trial.draws for trial in group.values()])[:-1])
        for place, rows in zip(group, right, strict=True):
            correct[place] = rows
            case.results.save(keys[place], rows)
    return Trained(correct, probes[: len(others)])


def _train_on_activations(train: Training, case: Case, tasks: Sequence[ProbeTask]) -> list[ProbeResults]:
    """Train probes on positions in the concatenated layers; each neuron is read once."""
    needed = np.unique(np.concatenate([task.columns.ravel() for task in tasks]))
    features = case.activations.rows(case.labels, needed)
    return train(features, [replace(task, columns=np.searchsorted(needed, task.columns)) for task in tasks])


def key_task(case: Case) -> ProbeTask:
    """The probe on the key neurons of all tags, whose curve is recorded."""
    return replace(_task([Trial(case.union[None])], case.labels), record=True)


def _task(trials: Sequence[Trial], labels: Labels) -> ProbeTask:
    """The probes of trials that have equally many neurons; equal labels are held once."""
    from keyneurons.probe.fit import ProbeTask

    columns = np.concatenate([trial.columns for trial in trials if trial.columns is not None])
    labelled = list({id(trial.tags): trial for trial in trials}.values())
    rows = {id(trial.tags): row for row, trial in enumerate(labelled)}
    classes = {
        split: torch.stack([torch.as_tensor(_tags(trial, labels, split)).long() for trial in labelled])
        for split in SPLITS
    }
    of_probes = np.repeat([rows[id(trial.tags)] for trial in trials], [trial.draws for trial in trials])
    return ProbeTask(columns, classes, len(labels.names), of_probes)


def _tags(trial: Trial, labels: Labels, split: Split) -> Int[ndarray, " words"]:
    return labels.splits[split].tags if trial.tags is None else trial.tags[split]


def _on_own_features(train: Training, trial: Trial, labels: Labels) -> Bool[ndarray, "draws words"]:
    assert trial.features is not None
    task = _task([trial], labels)
    return _right(train(trial.features, [task])[0], task)


def _right(results: ProbeResults, task: ProbeTask) -> Bool[ndarray, "draws words"]:
    right: ndarray = (results.test_predictions == task.labels_of_probes("test")).numpy()
    return right


def _by_size(trials: Mapping[Place, Trial]) -> list[dict[Place, Trial]]:
    """Group trials by the number of neurons of their probes; a group is trained as one task."""
    groups: dict[int, dict[Place, Trial]] = {}
    for place, trial in trials.items():
        assert trial.columns is not None
        groups.setdefault(trial.columns.shape[1], {})[place] = trial
    return list(groups.values())


def _key(train: Training, case: Case, trial: Trial) -> str | None:
    """Key of a trial in the cache; None if it trains no probe or its input has no identity."""
    activations = case.activations.identity() if trial.features is None else None
    if trial.columns is None or not train.identity or (activations is None and trial.features is None):
        return None
    own = [] if trial.features is None else [trial.features[split].float().numpy() for split in SPLITS]
    words = [part for split in SPLITS for part in (case.labels.splits[split].rows, _tags(trial, case.labels, split))]
    n_classes = len(case.labels.names)
    return result_key("trial", train.identity, train.seed, activations, n_classes, trial.columns, *words, *own)
