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
from keyneurons.pipeline.activations import Activations
from keyneurons.records import SPLITS, Labels, NeuronSets, Split

if TYPE_CHECKING:
    from lightning import Trainer

    from keyneurons.probe.fit import ProbeResults, ProbeSettings

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

    def __call__(self, values: Float[Tensor, "*words features"]) -> Float[Tensor, "*words tags"]:
        """Logits; a neuron that was constant in train counts as its mean."""
        standard = torch.where(self.std > 0, (values - self.mean) / self.std, 0.0)
        return standard @ self.weight + self.bias


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
    from keyneurons.probe.fit import train_probes

    def fit(
        features: Mapping[Split, Tensor], targets: Mapping[Split, Tensor], columns: ndarray, n: int
    ) -> ProbeResults:
        return train_probes(features, targets, columns, n, settings=settings, trainer=trainer, seed=seed)

    n_neurons = len(sets.layers) * sets.neurons_per_layer
    union = np.array(sets.union(), dtype=np.int64)
    own = own_sets(sets, own_random_sets, seed) if own_random_sets else {}
    random = np.empty((0, 0), dtype=np.int64)
    if len(union):
        random = matched_random_sets(union.tolist(), sets.neurons_per_layer, len(sets.layers), random_sets, seed)
    drawn = [union, random.ravel(), *(columns.ravel() for columns in own.values())]
    needed = np.arange(n_neurons) if all_neurons else np.unique(np.concatenate(drawn))
    features = activations.columns(labels, needed)

    def place(columns: Int[ndarray, "*probes features"]) -> Int[ndarray, "*probes features"]:
        return np.searchsorted(needed, columns)

    metrics = text_controls(labels)
    if all_neurons:
        everything = fit(features, same_for_all(labels, 1), np.arange(n_neurons)[None], len(labels.names))
        test = torch.as_tensor(labels.splits["test"].tags)
        metrics["control/all_neurons/test_accuracy"] = accuracy_of(everything.test_predictions[0], test)
    of_union = features["train"][:, place(union)].numpy()
    if not len(union):
        return Evidence(metrics, None, np.empty(0), None, of_union)
    more, confusion, accuracy, probe = key_and_random(fit, features, labels, union, random, place, seed)
    metrics |= more
    for size in sorted({columns.shape[1] for columns in own.values()}):  # probes of one size train together
        alike = {tag: place(columns) for tag, columns in own.items() if columns.shape[1] == size}
        metrics |= own_f1(fit, features, labels, alike)
    return Evidence(metrics, confusion, accuracy, probe, of_union)


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
    own: Mapping[str, Int[ndarray, "sets features"]],
) -> dict[str, float]:
    """F1 of a binary probe of each tag on its own key neurons, beside the mean over its matched random sets.

    ``own`` has the columns of some tags whose sets are of one size: the key neurons first, then the random sets.
    """
    from keyneurons.probe.metrics import binary_f1

    targets = {
        split: torch.stack([
            torch.as_tensor(words.tags == labels.names.index(tag)).long() for tag in own for _ in own[tag]
        ])
        for split, words in labels.splits.items()
    }
    trained = fit(features, targets, np.concatenate(list(own.values())), 2)
    f1 = binary_f1(trained.test_predictions, targets["test"]).reshape(len(own), -1)
    metrics = {f"own/f1/{tag}": float(row[0]) for tag, row in zip(own, f1, strict=True)}
    return metrics | {f"own/random_f1/{tag}": float(row[1:].mean()) for tag, row in zip(own, f1, strict=True)}


def probe_of_all(
    activations: Activations,
    labels: Labels,
    n_neurons: int,
    *,
    settings: ProbeSettings,
    trainer: Callable[[], Trainer],
    seed: int,
) -> KeyProbe:
    """The probe on all neurons, trained as every other."""
    from keyneurons.probe.fit import train_probes

    columns = np.arange(n_neurons)
    features, targets = activations.columns(labels, columns), same_for_all(labels, 1)
    trained = train_probes(
        features, targets, columns[None], len(labels.names), settings=settings, trainer=trainer, seed=seed
    )
    return KeyProbe(columns, trained.mean[0], trained.std[0], trained.weights[0], trained.biases[0])


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


def same_for_all(labels: Labels, n_probes: int) -> dict[Split, Int[Tensor, "probes _words"]]:
    """The tags of the words, once for each probe."""
    return {split: torch.as_tensor(words.tags).long().repeat(n_probes, 1) for split, words in labels.splits.items()}


def accuracy_of(predictions: Int[Tensor, " words"], targets: Int[Tensor, " words"]) -> float:
    """Share of right words."""
    return float((predictions == targets).double().mean())
