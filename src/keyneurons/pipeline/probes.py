"""A trained probe as later stages use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.pipeline.activations import Activations
from keyneurons.records import Labels, Split

if TYPE_CHECKING:
    from lightning import Trainer

    from keyneurons.probe.fit import ProbeResults, ProbeSettings, ProbeTask


@dataclass(frozen=True)
class Training:
    """How probes are trained: the settings, what makes a Lightning trainer, and the seed of the order of batches.

    ``identity`` stands for all of it, so that what is trained alike is trained once.
    """

    settings: ProbeSettings
    trainer: Callable[[], Trainer]
    seed: int
    identity: str = ""

    def __call__(
        self, features: Mapping[Split, Float[Tensor, "_words columns"]], tasks: list[ProbeTask]
    ) -> list[ProbeResults]:
        """Train the probes of some tasks together."""
        from keyneurons.probe.fit import train_probes

        return train_probes(features, tasks, settings=self.settings, trainer=self.trainer, seed=self.seed)

    def probe_of_all(self, activations: Activations, labels: Labels, n_neurons: int) -> KeyProbe:
        """The probe on all neurons, trained as every other."""
        from keyneurons.probe.fit import ProbeTask

        columns = np.arange(n_neurons)
        targets = {split: torch.as_tensor(words.tags).long()[None] for split, words in labels.splits.items()}
        features = activations.columns(labels, columns)
        return KeyProbe.of(columns, self(features, [ProbeTask(columns[None], targets, len(labels.names))])[0])


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
