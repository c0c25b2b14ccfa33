"""Loss and accuracy of a probe by epoch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class LearningCurve:
    """Measurements of a probe in every epoch, from the first, until it was finished.

    ``train_loss`` is the mean cross-entropy of the train words, each in its mini-batch before the
    update; ``dev_loss`` and ``dev_accuracy`` are those of the dev words at the end of the epoch.
    """

    train_loss: tuple[float, ...]
    dev_loss: tuple[float, ...]
    dev_accuracy: tuple[float, ...]

    def by_epoch(self) -> dict[str, dict[int, float]]:
        """The measurements by metric name and epoch, without those that are not finite."""
        return {
            f"epoch/{name}": {epoch: value for epoch, value in enumerate(values, 1) if math.isfinite(value)}
            for name, values in asdict(self).items()
        }


class CurveRecorder:
    """Records the curve of a single probe during its training, without waiting for a GPU."""

    def __init__(self) -> None:
        self._train: list[Tensor] = []
        self._dev: list[Tensor] = []
        self._epochs: list[Tensor] = []

    def add_train(self, probability: Float[Tensor, "1 classes words"], labels: Int[Tensor, "1 words"]) -> None:
        """Add the predictions on a mini-batch of train, before its update."""
        true = probability.gather(1, labels.unsqueeze(1)).clamp_min(torch.finfo(probability.dtype).tiny)
        self._train.append(torch.stack([-true.log().sum(), true.new_tensor(true.numel())]))

    def add_dev(self, logits: Float[Tensor, "1 classes words"], labels: Int[Tensor, "1 words"]) -> None:
        """Add the predictions on a mini-batch of dev."""
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        right = (logits.max(dim=1).indices == labels).sum()
        self._dev.append(torch.stack([loss, right.to(loss.dtype), loss.new_tensor(labels.numel())]))

    def end_epoch(self) -> None:
        """Complete an epoch, whose mini-batches were added."""
        loss, n_train = torch.stack(self._train).sum(dim=0)
        dev_loss, right, n_dev = torch.stack(self._dev).sum(dim=0)
        self._epochs.append(torch.stack([loss / n_train, dev_loss / n_dev, right / n_dev]))
        self._train, self._dev = [], []

    def curve(self) -> LearningCurve:
        """The completed epochs."""
        return LearningCurve(*map(tuple, torch.stack(self._epochs, dim=1).tolist()))
