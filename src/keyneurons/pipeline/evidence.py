"""What the key neurons are worth: a probe on them, beside the same probe on everything it must be compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from keyneurons.records import SPLITS, Labels, NeuronSets, Split

if TYPE_CHECKING:
    from lightning import Trainer

    from keyneurons.probe.fit import ProbeResults, ProbeSettings

Activations = Mapping[Split, Mapping[int, Float[ndarray, "_words neurons"]]]
Fit = Callable[[Mapping[Split, Tensor], Mapping[Split, Tensor], ndarray, int], "ProbeResults"]


@dataclass(frozen=True)
class KeyProbe:
    """The trained probe on the union of the key neurons.

    ``columns`` are the neurons it reads, the layers side by side; an activation is standardised with ``mean`` and
    ``std`` before it meets the weights.
    """

    columns: Int[ndarray, " features"]
    mean: Float[Tensor, " features"]
    std: Float[Tensor, " features"]
    weight: Float[Tensor, "features tags"]
    bias: Float[Tensor, " tags"]


@dataclass(frozen=True)
class Evidence:
    """Metrics by their MLflow names, the test confusion ``[true, predicted]`` and the probe itself.

    ``random_accuracy`` holds the test accuracy of every matched random set.
    """

    metrics: Mapping[str, float]
    confusion: Int[ndarray, "tags tags"]
    random_accuracy: Float[ndarray, " sets"]
    probe: KeyProbe


def gather_evidence(
    arrays: Activations,
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
        arrays: activations of all words, by split and layer.
        labels: the labelled words.
        sets: the key neurons.
        settings: how probes are trained.
        trainer: makes a Lightning trainer.
        random_sets: number of random sets matched to the union of the key neurons.
        own_random_sets: number of random sets matched to the key neurons of each tag.
        all_neurons: whether to train the probe on all neurons too.
        seed: of the random sets, the control task and the order of the batches.

    Returns:
        Everything measured on the test split, which is read once by every probe.
    """
    from keyneurons.probe.fit import train_probes

    def fit(
        features: Mapping[Split, Tensor], targets: Mapping[Split, Tensor], columns: ndarray, n: int
    ) -> ProbeResults:
        return train_probes(features, targets, columns, n, settings=settings, trainer=trainer, seed=seed)

    n_neurons = len(sets.layers) * sets.neurons_per_layer
    union = np.array(sets.union())
    random = matched_random_sets(union.tolist(), sets.neurons_per_layer, len(sets.layers), random_sets, seed)
    own = own_sets(sets, own_random_sets, seed)
    needed = np.arange(n_neurons) if all_neurons else np.unique(np.concatenate([union, random.ravel(), own.ravel()]))
    features = gather_columns(arrays, labels, sets, needed)

    def place(columns: Int[ndarray, "probes features"]) -> Int[ndarray, "probes features"]:
        return np.searchsorted(needed, columns)

    metrics, confusion, accuracy, probe = key_and_random(fit, features, labels, union, random, place, seed)
    metrics |= own_f1(fit, features, labels, place(own), own_random_sets)
    if all_neurons:
        everything = fit(features, same_for_all(labels, 1), np.arange(n_neurons)[None], len(labels.names))
        test = torch.as_tensor(labels.splits["test"].tags)
        metrics["control/all_neurons/test_accuracy"] = accuracy_of(everything.test_predictions[0], test)
    metrics |= text_controls(labels)
    return Evidence(metrics, confusion, accuracy, probe)


def key_and_random(
    fit: Fit,
    features: Mapping[Split, Tensor],
    labels: Labels,
    union: Int[ndarray, " features"],
    random: Int[ndarray, "sets features"],
    place: Callable[[ndarray], ndarray],
    seed: int,
) -> tuple[dict[str, float], Int[ndarray, "tags tags"], Float[ndarray, " sets"], KeyProbe]:
    """The probe on the key neurons, the control task on the same neurons, and the random sets: one batch of probes."""
    from keyneurons.probe.metrics import classification_metrics

    n_tags = len(labels.names)
    columns = np.concatenate([union[None], union[None], random])
    forms = [labels.splits[split].forms for split in SPLITS]
    task = dict(zip(SPLITS, control_task_tags(forms, labels.splits["train"].tags, n_tags, seed), strict=True))
    targets = same_for_all(labels, len(columns))
    for split in SPLITS:
        targets[split][1] = torch.as_tensor(task[split])
    trained = fit(features, targets, place(columns), n_tags)

    test = targets["test"]
    key = classification_metrics(trained.test_predictions[0], test[0], n_tags)
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
    metrics |= {f"probe/test_f1/{tag}": float(f1) for tag, f1 in zip(labels.names, key.f1, strict=True)}
    probe = KeyProbe(union, trained.mean[0], trained.std[0], trained.weights[0], trained.biases[0])
    return metrics, key.confusion, by_chance, probe


def own_f1(
    fit: Fit,
    features: Mapping[Split, Tensor],
    labels: Labels,
    columns: Int[ndarray, "probes features"],
    random_sets: int,
) -> dict[str, float]:
    """F1 of a binary probe of each tag on its own key neurons, beside the mean over its matched random sets."""
    from keyneurons.probe.metrics import binary_f1

    per_tag = 1 + random_sets
    targets = {
        split: torch.stack([
            torch.as_tensor(words.tags == tag).long() for tag in range(len(labels.names)) for _ in range(per_tag)
        ])
        for split, words in labels.splits.items()
    }
    trained = fit(features, targets, columns, 2)
    f1 = binary_f1(trained.test_predictions, targets["test"]).reshape(len(labels.names), per_tag)
    own = {f"own/f1/{tag}": float(row[0]) for tag, row in zip(labels.names, f1, strict=True)}
    return own | {f"own/random_f1/{tag}": float(row[1:].mean()) for tag, row in zip(labels.names, f1, strict=True)}


def text_controls(labels: Labels) -> dict[str, float]:
    """What the words alone tell, without a model: the majority tag, and the usual tag of the word."""
    train, test = labels.splits["train"], labels.splits["test"]
    by_type = word_type_predictions(train.forms, train.tags, test.forms, len(labels.names))
    return {
        "control/majority/test_accuracy": float((test.tags == majority_tag(train.tags)).mean()),
        "control/word_type/test_accuracy": float((test.tags == by_type).mean()),
    }


def own_sets(sets: NeuronSets, random_sets: int, seed: int) -> Int[ndarray, "probes features"]:
    """Columns of the binary probes, tag by tag: its key neurons, then its matched random sets."""
    blocks = []
    for i, tag in enumerate(sets):
        columns = sets.columns(tag)
        own_seed = int(np.random.SeedSequence([seed, i]).generate_state(1)[0])
        drawn = matched_random_sets(columns, sets.neurons_per_layer, len(sets.layers), random_sets, own_seed)
        blocks += [np.array(columns)[None], drawn]
    return np.concatenate(blocks)


def gather_columns(
    arrays: Activations, labels: Labels, sets: NeuronSets, columns: Int[ndarray, " columns"]
) -> dict[Split, Float[Tensor, "_words columns"]]:
    """The activations of some neurons (ascending, the layers side by side) on the labelled words of every split."""
    layer_of, neuron_of = np.divmod(columns, sets.neurons_per_layer)
    gathered: dict[Split, Tensor] = {}
    for split in SPLITS:
        rows = labels.splits[split].rows
        parts = [arrays[split][layer][rows][:, neuron_of[layer_of == i]] for i, layer in enumerate(sets.layers)]
        gathered[split] = torch.from_numpy(np.concatenate(parts, axis=1))
    return gathered


def same_for_all(labels: Labels, n_probes: int) -> dict[Split, Int[Tensor, "probes _words"]]:
    """The tags of the words, once for each probe."""
    return {split: torch.as_tensor(words.tags).long().repeat(n_probes, 1) for split, words in labels.splits.items()}


def accuracy_of(predictions: Int[Tensor, " words"], targets: Int[Tensor, " words"]) -> float:
    """Share of right words."""
    return float((predictions == targets).double().mean())
