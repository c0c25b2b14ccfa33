"""What the key neurons are worth: a probe on them, beside the same probe on everything it must be compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.analysis.controls import (
    control_task_tags,
    empirical_p_value,
    majority_tag,
    matched_random_sets,
    word_type_predictions,
)
from keyneurons.pipeline.activations import Activations
from keyneurons.pipeline.probes import KeyProbe, Targets, accuracy_of, accuracy_of_all, same_for_all
from keyneurons.records import SPLITS, Labels, NeuronSets

if TYPE_CHECKING:
    from lightning import Trainer

    from keyneurons.probe.fit import ProbeResults, ProbeSettings


@dataclass(frozen=True)
class Evidence:
    """Metrics by their MLflow names, the test confusion ``[true, predicted]`` and the probe itself.

    ``random_accuracy`` holds the test accuracy of every matched random set; ``union`` the key neurons on the train
    words. Without any key neuron there is no probe, no confusion and no random set.
    """

    metrics: Mapping[str, float]
    confusion: Int[ndarray, "tags tags"] | None
    random_accuracy: Float[ndarray, " sets"]
    probe: KeyProbe | None
    union: Float[ndarray, "words features"]


def gather_evidence(
    activations: Activations,
    labels: Labels,
    sets: NeuronSets,
    *,
    settings: ProbeSettings,
    trainer: Callable[[], Trainer],
    random_sets: int,
    own_random_sets: int,
    all_neurons: bool,
    seed: int,
) -> Evidence:
    """Train and test the probe and all its controls.

    Args:
        activations: those of the treebank.
        labels: the labelled words.
        sets: the key neurons.
        settings: how probes are trained.
        trainer: makes a Lightning trainer.
        random_sets: number of random sets matched to the union of the key neurons.
        own_random_sets: number of random sets matched to the key neurons of each tag; 0: no probes of single tags.
        all_neurons: whether to train the probe on all neurons too.
        seed: of the random sets, the control task and the order of the batches.

    Returns:
        Everything measured on the test split, which is read once by every probe.
    """
    from keyneurons.probe.fit import ProbeTask, train_probes

    n_neurons = len(sets.layers) * sets.neurons_per_layer
    union = np.array(sets.union(), dtype=np.int64)
    own = own_sets(sets, own_random_sets, seed) if own_random_sets else {}
    random = np.empty((0, 0), dtype=np.int64)
    if len(union):
        random = matched_random_sets(union.tolist(), sets.neurons_per_layer, len(sets.layers), random_sets, seed)
    drawn = [union, random.ravel(), *(columns.ravel() for columns in own.values())]
    needed = np.arange(n_neurons) if all_neurons else np.unique(np.concatenate(drawn))
    features = activations.columns(labels, needed)

    def task(columns: Int[ndarray, "probes features"], targets: Targets, n_classes: int) -> ProbeTask:
        return ProbeTask(np.searchsorted(needed, columns), targets, n_classes)

    metrics = text_controls(labels)
    if all_neurons:
        accuracy = accuracy_of_all(features, labels, settings=settings, trainer=trainer, seed=seed)
        metrics["control/all_neurons/test_accuracy"] = accuracy
    of_union = features["train"][:, np.searchsorted(needed, union)].numpy()
    if not len(union):
        return Evidence(metrics, None, np.empty(0), None, of_union)
    targets = union_targets(labels, 2 + random_sets, seed)
    sizes = sorted({columns.shape[1] for columns in own.values()})  # probes of one size are one task
    alike = [{tag: columns for tag, columns in own.items() if columns.shape[1] == size} for size in sizes]
    tasks = [task(np.concatenate([union[None], union[None], random]), targets, len(labels.names))]
    tasks += [task(np.concatenate(list(tags.values())), own_targets(labels, tags), 2) for tags in alike]
    trained, *of_tags = train_probes(features, tasks, settings=settings, trainer=trainer, seed=seed)

    more, confusion, random_accuracy = key_and_random(trained, targets["test"], labels.names)
    metrics |= more
    for tags, results, own_task in zip(alike, of_tags, tasks[1:], strict=True):
        metrics |= own_f1(results.test_predictions, own_task.labels["test"], list(tags))
    return Evidence(metrics, confusion, random_accuracy, KeyProbe.of(union, trained), of_union)


def union_targets(labels: Labels, n_probes: int, seed: int) -> Targets:
    """The tags of the words for every probe but the second, which learns the control task."""
    forms = [labels.splits[split].forms for split in SPLITS]
    control_task = control_task_tags(forms, labels.splits["train"].tags, len(labels.names), seed)
    targets = same_for_all(labels, n_probes)
    for split, tags in zip(SPLITS, control_task, strict=True):
        targets[split][1] = torch.as_tensor(tags)
    return targets


def key_and_random(
    trained: ProbeResults, test: Int[Tensor, "probes words"], names: Sequence[str]
) -> tuple[dict[str, float], Int[ndarray, "tags tags"], Float[ndarray, " sets"]]:
    """Metrics of the probe on the key neurons beside the control task on them and the random sets.

    Args:
        trained: the probes, in this order.
        test: what they had to tell of the test words.
        names: the tags.

    Returns:
        The metrics, the confusion of the first probe and the accuracies of the random sets.
    """
    from keyneurons.probe.metrics import classification_metrics

    key = classification_metrics(trained.test_predictions[0], test[0], len(names))
    control = accuracy_of(trained.test_predictions[1], test[1])
    by_chance = np.array([accuracy_of(p, test[0]) for p in trained.test_predictions[2:]])
    metrics = {
        "probe/test_accuracy": key.accuracy,
        "probe/test_macro_f1": key.macro_f1,
        "probe/dev_accuracy": float(trained.dev_accuracy[0]),
        "probe/epochs": float(trained.best_epoch[0]),
        "probe/selectivity": key.accuracy - control,
        "probe/advantage": key.accuracy - float(by_chance.mean()),
        "control/task/test_accuracy": control,
        "control/random/test_accuracy": float(by_chance.mean()),
        "control/random/test_accuracy_std": float(by_chance.std(ddof=1)),
        "control/random/p_value": empirical_p_value(key.accuracy, by_chance),
    }
    metrics |= {f"probe/test_f1/{tag}": float(f1) for tag, f1 in zip(names, key.f1, strict=True)}
    return metrics, key.confusion, by_chance


def own_targets(labels: Labels, own: Mapping[str, Int[ndarray, "sets _features"]]) -> Targets:
    """For every set of every tag whether a word has the tag."""
    return {
        split: torch.stack([
            torch.as_tensor(words.tags == labels.names.index(tag)).long() for tag in own for _ in own[tag]
        ])
        for split, words in labels.splits.items()
    }


def own_f1(
    predictions: Int[Tensor, "probes words"], test: Int[Tensor, "probes words"], tags: Sequence[str]
) -> dict[str, float]:
    """F1 of the binary probe of each tag on its own key neurons, beside the mean over its matched random sets.

    Args:
        predictions: those of the probes of every tag in turn: on the key neurons first, then on the random sets.
        test: whether each test word has the tag.
        tags: the tags.

    Returns:
        The metrics.
    """
    from keyneurons.probe.metrics import binary_f1

    f1 = binary_f1(predictions, test).reshape(len(tags), -1)
    metrics = {f"own/f1/{tag}": float(row[0]) for tag, row in zip(tags, f1, strict=True)}
    return metrics | {f"own/random_f1/{tag}": float(row[1:].mean()) for tag, row in zip(tags, f1, strict=True)}


def text_controls(labels: Labels) -> dict[str, float]:
    """What the words alone tell, without a model: the majority tag, and the usual tag of the word."""
    train, test = labels.splits["train"], labels.splits["test"]
    by_type = word_type_predictions(train.forms, train.tags, test.forms, len(labels.names))
    return {
        "control/majority/test_accuracy": float((test.tags == majority_tag(train.tags)).mean()),
        "control/word_type/test_accuracy": float((test.tags == by_type).mean()),
    }


def own_sets(sets: NeuronSets, random_sets: int, seed: int) -> dict[str, Int[ndarray, "sets features"]]:
    """Columns of the binary probes of every tag that has key neurons: these first, then their matched random sets."""
    own = {}
    for i, tag in enumerate(sets):
        if columns := sets.columns(tag):
            own_seed = int(np.random.SeedSequence([seed, i]).generate_state(1)[0])
            drawn = matched_random_sets(columns, sets.neurons_per_layer, len(sets.layers), random_sets, own_seed)
            own[tag] = np.concatenate([np.array(columns)[None], drawn])
    return own
