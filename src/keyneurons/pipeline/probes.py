"""A trained probe as later stages use it, and the probe on all neurons of some layers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.pipeline.activations import Activations
from keyneurons.records import SPLITS, Labels, Split

if TYPE_CHECKING:
    from lightning import Trainer

    from keyneurons.probe.fit import ProbeResults, ProbeSettings

Targets = dict[Split, Int[Tensor, "_probes _words"]]

_KNOWN: dict[tuple[str, ...], float] = {}  # jobs of a sweep that share a process share this control


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

    @classmethod
    def of(cls, columns: Int[ndarray, " features"], trained: ProbeResults) -> KeyProbe:
        """The first of some trained probes, which read these columns."""
        return cls(columns, trained.mean[0], trained.std[0], trained.weights[0], trained.biases[0])

    def __call__(self, values: Float[Tensor, "*words features"]) -> Float[Tensor, "*words tags"]:
        """Logits; a neuron that was constant in train counts as its mean."""
        standard = torch.where(self.std > 0, (values - self.mean) / self.std, 0.0)
        return standard @ self.weight + self.bias


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
    columns = np.arange(n_neurons)
    features = activations.columns(labels, columns)
    return KeyProbe.of(columns, _train_on_all(features, labels, settings, trainer, seed))


def accuracy_of_all(
    features: Mapping[Split, Float[Tensor, "_words neurons"]],
    labels: Labels,
    *,
    settings: ProbeSettings,
    trainer: Callable[[], Trainer],
    seed: int,
) -> float:
    """Test accuracy of the probe on all neurons; trained once in a process for the same values, labels and settings."""
    digest = hashlib.blake2b()
    for split in SPLITS:
        for values in (labels.splits[split].tags, features[split].numpy()):
            digest.update(f"{values.shape} {values.dtype}".encode())
            digest.update(np.ascontiguousarray(values).data)
    key = (digest.hexdigest(), *map(repr, (labels.names, settings, trainer, seed)))
    if key not in _KNOWN:
        trained = _train_on_all(features, labels, settings, trainer, seed)
        _KNOWN[key] = accuracy_of(trained.test_predictions[0], torch.as_tensor(labels.splits["test"].tags))
    return _KNOWN[key]


def _train_on_all(
    features: Mapping[Split, Float[Tensor, "_words neurons"]],
    labels: Labels,
    settings: ProbeSettings,
    trainer: Callable[[], Trainer],
    seed: int,
) -> ProbeResults:
    from keyneurons.probe.fit import ProbeTask, train_probes

    task = ProbeTask(np.arange(features["train"].shape[1])[None], same_for_all(labels, 1), len(labels.names))
    return train_probes(features, [task], settings=settings, trainer=trainer, seed=seed)[0]


def same_for_all(labels: Labels, n_probes: int) -> Targets:
    """The tags of the words, once for each probe."""
    return {split: torch.as_tensor(words.tags).long().repeat(n_probes, 1) for split, words in labels.splits.items()}


def accuracy_of(predictions: Int[Tensor, " words"], targets: Int[Tensor, " words"]) -> float:
    """Share of right words."""
    return float((predictions == targets).double().mean())
