"""The training of probes, and a trained probe as later stages use it."""

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
from keyneurons.probe.rows import Rows
from keyneurons.records import Labels, Split

if TYPE_CHECKING:
    from lightning import Trainer

    from keyneurons.probe.fit import ProbeResults, ProbeSettings, ProbeTask


@dataclass(frozen=True)
class Training:
    """The training of probes: settings, factory of Lightning trainers, seed of the batch order.

    ``identity`` identifies these settings, so that identical probes are trained once.
    """

    settings: ProbeSettings
    trainer: Callable[[], Trainer]
    seed: int
    identity: str = ""

    def __call__(self, features: Mapping[Split, Rows], tasks: list[ProbeTask]) -> list[ProbeResults]:
        """Train the probes of several tasks together."""
        from keyneurons.probe.fit import train_probes

        return train_probes(features, tasks, settings=self.settings, trainer=self.trainer, seed=self.seed)

    def probe_of_all(self, activations: Activations, labels: Labels, n_neurons: int) -> TrainedProbe:
        """Train a probe on all neurons."""
        from keyneurons.probe.fit import ProbeTask

        columns = np.arange(n_neurons)
        classes = {split: torch.as_tensor(words.tags).long()[None] for split, words in labels.splits.items()}
        features = activations.rows(labels, columns)
        return TrainedProbe.of(columns, self(features, [ProbeTask(columns[None], classes, len(labels.names))])[0])


@dataclass(frozen=True)
class TrainedProbe:
    """A trained linear probe.

    ``columns`` are its neurons as positions in the concatenated layers. Activations are
    standardised with ``mean`` and ``std`` before the weights are applied.
    """

    columns: Int[ndarray, " features"]
    mean: Float[Tensor, " features"]
    std: Float[Tensor, " features"]
    weight: Float[Tensor, "features tags"]
    bias: Float[Tensor, " tags"]

    @classmethod
    def of(cls, columns: Int[ndarray, " features"], trained: ProbeResults) -> TrainedProbe:
        """Take the first of several trained probes, which has these columns."""
        return cls(columns, trained.mean[0], trained.std[0], trained.weights[0], trained.biases[0])

    def __call__(self, values: Float[Tensor, "*words features"]) -> Float[Tensor, "*words tags"]:
        """Compute logits; neurons that were constant in train contribute 0."""
        standard = torch.where(self.std > 0, (values - self.mean) / self.std, 0.0)
        return standard @ self.weight + self.bias
