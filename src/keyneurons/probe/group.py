"""Many independent logistic regressions of one shape."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional

# An epoch is better only if it lowers the dev cross-entropy by this share (and by this share of a floor, in nats, or a
# class without a dev word, whose loss tends to zero, would never finish). Without it small probes creep on for long.
_MIN_GAIN = 1e-3
_LOSS_FLOOR = 0.1
_AT_ONCE_BYTES = {"cpu": 2 << 20, "gpu": 256 << 20}  # of copied columns; beyond a core's cache they are read twice


class ProbeGroup(nn.Module):
    """Multinomial logistic regressions with one number of features and of classes, each on its own columns.

    ``takes_all`` says that there is one, on the first columns as they stand, so that nothing is copied for it.
    Parameters start at zero: the problem is convex. The weights W are a parameter divided by sqrt(features), so that
    one learning rate moves the logits of ten features and of a thousand at a like speed; with W itself the rate that
    suits ten overshoots a thousand within the first epoch.
    """

    columns: Int[Tensor, "probes features"]
    best_scaled_weight: Float[Tensor, "probes features classes"]
    best_bias: Float[Tensor, "probes classes"]
    best_loss: Float[Tensor, " probes"]
    best_epoch: Int[Tensor, " probes"]
    stale: Int[Tensor, " probes"]
    unfinished: Int[Tensor, " unfinished"]

    def __init__(self, columns: Int[ndarray, "probes features"], n_classes: int) -> None:
        """Put every probe at zero.

        Args:
            columns: columns of the feature matrix that each probe reads
            n_classes: number of classes of every probe
        """
        super().__init__()
        n_probes, n_features = columns.shape
        self.takes_all = bool(n_probes == 1 and (columns[0] == np.arange(n_features)).all())
        self.scaled_weight = nn.Parameter(torch.zeros(n_probes, n_features, n_classes))
        self.bias = nn.Parameter(torch.zeros(n_probes, n_classes))
        self.register_buffer("columns", torch.as_tensor(columns, dtype=torch.int64))
        self.register_buffer("best_scaled_weight", torch.zeros_like(self.scaled_weight))
        self.register_buffer("best_bias", torch.zeros_like(self.bias))
        self.register_buffer("best_loss", torch.full((n_probes,), torch.inf))
        self.register_buffer("best_epoch", torch.zeros(n_probes, dtype=torch.int64))
        self.register_buffer("stale", torch.zeros(n_probes, dtype=torch.int64))
        self.register_buffer("unfinished", torch.arange(n_probes))

    @property
    def weight(self) -> Float[Tensor, "probes features classes"]:
        """The weights W on the features."""
        return self.scaled_weight / self._scale

    def forward(
        self, features: Float[Tensor, "columns words"], chosen: Int[Tensor, " chosen"]
    ) -> Float[Tensor, "chosen classes words"]:
        """Logits of the chosen probes for every word."""
        return self._logits(self._own(features, chosen), self._weight_of(chosen), chosen)

    @property
    def _scale(self) -> float:
        return math.sqrt(self.scaled_weight.shape[1])

    def _weight_of(self, chosen: Int[Tensor, " chosen"]) -> Float[Tensor, "chosen features classes"]:
        return self.scaled_weight[chosen] / self._scale

    def _own(
        self, features: Float[Tensor, "columns words"], chosen: Int[Tensor, " chosen"]
    ) -> Float[Tensor, "chosen features words"]:
        if self.takes_all:
            return features[None, : self.columns.shape[1]]
        # Whole rows are copied: several times faster than picking columns of a matrix [words, columns].
        columns = self.columns[chosen]
        return features.index_select(0, columns.flatten()).view(*columns.shape, -1)

    def _logits(
        self,
        own: Float[Tensor, "chosen features words"],
        weight: Float[Tensor, "chosen features classes"],
        chosen: Int[Tensor, " chosen"],
    ) -> Float[Tensor, "chosen classes words"]:
        return torch.baddbmm(self.bias[chosen].unsqueeze(2), weight.transpose(1, 2), own)

    def parts(self, n_words: int) -> Iterator[Int[Tensor, " some"]]:
        """The probes that have not finished, so many at a time that the columns they read fit into a fast cache."""
        held = _AT_ONCE_BYTES["cpu" if self.columns.device.type == "cpu" else "gpu"]
        return iter(torch.split(self.unfinished, max(1, held // (4 * n_words * self.columns.shape[1]))))

    def cross_entropy(
        self,
        features: Float[Tensor, "columns words"],
        labels: Int[Tensor, "words probes"],
        chosen: Int[Tensor, " chosen"],
    ) -> Float[Tensor, "chosen words"]:
        """That of every word, for the chosen probes."""
        return functional.cross_entropy(self.forward(features, chosen), labels.T[chosen], reduction="none")

    @torch.no_grad()
    def put_gradient(
        self, features: Float[Tensor, "columns words"], labels: Int[Tensor, "words probes"], penalty: float
    ) -> None:
        """Put the gradient of every unfinished probe's objective on some words in its place; the others' is 0.

        The objective is mean cross-entropy + penalty / 2 * ||W||^2 (biases free); its gradient by the logits is the
        predicted probability less 1 at the true class. Written out because autograd would hold the columns of all
        probes at once, and gradients of the whole W for each part of them.

        Args:
            features: standardised activations
            labels: class of every word for every probe
            penalty: weight of the squared norm
        """
        self.scaled_weight.grad, self.bias.grad = torch.zeros_like(self.scaled_weight), torch.zeros_like(self.bias)
        n_words = len(labels)
        for chosen in self.parts(n_words):
            own, weight = self._own(features, chosen), self._weight_of(chosen)
            surplus = self._logits(own, weight, chosen).softmax(dim=1)
            truth = labels.T[chosen].unsqueeze(1)
            surplus.scatter_add_(1, truth, surplus.new_full((1,), -1.0).expand(truth.shape)).div_(n_words)
            of_weight = torch.bmm(surplus, own.transpose(1, 2)).transpose(1, 2)
            self.scaled_weight.grad[chosen] = of_weight.add_(weight, alpha=penalty).div_(self._scale)
            self.bias.grad[chosen] = surplus.sum(dim=2)

    def keep_best(self, loss: Float[Tensor, " unfinished"], epoch: int, patience: int) -> None:
        """Keep the weights of every unfinished probe that improved on dev, and let those finish that did not for long.

        Args:
            loss: mean dev cross-entropy of the unfinished probes
            epoch: number of epochs they have been trained
            patience: epochs without a better loss after which a probe has finished
        """
        probes = self.unfinished
        best = self.best_loss[probes]
        better = best.isinf() | (loss < best - _MIN_GAIN * best.clamp(min=_LOSS_FLOOR))
        self.stale[probes] += 1
        probes = probes[better]
        self.stale[probes] = 0
        self.best_loss[probes] = loss[better]
        self.best_scaled_weight[probes] = self.scaled_weight.detach()[probes]
        self.best_bias[probes] = self.bias.detach()[probes]
        self.best_epoch[probes] = epoch
        self.unfinished = (self.stale < patience).nonzero().squeeze(1)

    def go_back(self) -> None:
        """Take the weights of the best epoch of every probe."""
        with torch.no_grad():
            self.scaled_weight.copy_(self.best_scaled_weight)
            self.bias.copy_(self.best_bias)
