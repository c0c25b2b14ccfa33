"""Groups of independent logistic regressions of equal shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional

from keyneurons.probe.curve import CurveRecorder

# Least relative improvement of the dev cross-entropy that counts as better; without it, small
# probes would improve slowly for many epochs. Below the floor (in nats) the improvement is relative
# to the floor: the loss of a class without dev words tends to zero and would improve forever.
_MIN_GAIN = 1e-3
_LOSS_FLOOR = 0.1
# Size of the columns copied at a time: on a CPU they should fit into the cache of a core, and there
# should be work for several threads. Parts do not depend on the number of threads, since the
# division affects rounding.
_PART_BYTES = {"cpu": 2 << 20, "gpu": 256 << 20}
_LEAST_PARTS, _LEAST_BYTES = 8, 768 << 10


Chosen = slice | Int[Tensor, " chosen"]
"""Some probes of a group; parameters of neighbouring ones need no copy."""


class ProbeGroup(nn.Module):
    """Multinomial logistic regressions of equal shape, each on its own columns.

    ``takes_all`` is true for a single probe on the leading columns in order; its columns need no
    copy. ``labelling`` is the row of labels of each probe. ``recorder`` records a single probe.

    Parameters start at zero, since the problem is convex. The weights W are a parameter divided by
    sqrt(features), so that one learning rate suits ten features and a thousand; with W itself as
    the parameter, a rate that suits ten features overshoots with a thousand in the first epoch.
    """

    columns: Int[Tensor, "probes features"]
    labelling: Int[Tensor, " probes"]
    best_scaled_weight: Float[Tensor, "probes classes features"]
    best_bias: Float[Tensor, "probes classes"]
    best_loss: Float[Tensor, " probes"]
    best_epoch: Int[Tensor, " probes"]
    stale: Int[Tensor, " probes"]
    unfinished: Int[Tensor, " unfinished"]

    def __init__(
        self,
        columns: Int[ndarray, "probes features"],
        n_classes: int,
        labelling: Int[ndarray, " probes"],
        recorder: CurveRecorder | None = None,
    ) -> None:
        """Initialise every probe at zero.

        Args:
            columns: Columns of the feature matrix that each probe uses.
            n_classes: Number of classes of every probe.
            labelling: Row of the labels that each probe learns.
            recorder: Records loss and accuracy by epoch, for a group of one probe.
        """
        super().__init__()
        n_probes, n_features = columns.shape
        self.takes_all = bool(n_probes == 1 and (columns[0] == np.arange(n_features)).all())
        self.n_classes = n_classes
        self.recorder = recorder
        self.scaled_weight = nn.Parameter(torch.zeros(n_probes, n_classes, n_features))
        self._factor = 1 / math.sqrt(n_features)
        self.bias = nn.Parameter(torch.zeros(n_probes, n_classes))
        self.register_buffer("columns", torch.as_tensor(columns, dtype=torch.int64))
        self.register_buffer("labelling", torch.as_tensor(labelling, dtype=torch.int64))
        self.register_buffer("best_scaled_weight", torch.zeros_like(self.scaled_weight))
        self.register_buffer("best_bias", torch.zeros_like(self.bias))
        self.register_buffer("best_loss", torch.full((n_probes,), torch.inf))
        self.register_buffer("best_epoch", torch.zeros(n_probes, dtype=torch.int64))
        self.register_buffer("stale", torch.zeros(n_probes, dtype=torch.int64))
        self.register_buffer("unfinished", torch.arange(n_probes))

    @property
    def weight(self) -> Float[Tensor, "probes features classes"]:
        """Weights W of the features."""
        return (self.scaled_weight * self._factor).transpose(1, 2).contiguous()

    def forward(
        self, features: Float[Tensor, "columns words"], chosen: Chosen
    ) -> Float[Tensor, "chosen classes words"]:
        """Compute the logits of the chosen probes for every word."""
        return self._logits(self._select(features, chosen), self.scaled_weight[chosen], chosen)

    def _select(
        self, features: Float[Tensor, "columns words"], chosen: Chosen
    ) -> Float[Tensor, "chosen features words"]:
        if self.takes_all:
            return features[None, : self.columns.shape[1]]
        columns = self.columns[chosen]
        return features.index_select(0, columns.flatten()).view(*columns.shape, -1)

    def _logits(
        self,
        inputs: Float[Tensor, "chosen features words"],
        scaled_weight: Float[Tensor, "chosen classes features"],
        chosen: Chosen,
    ) -> Float[Tensor, "chosen classes words"]:
        return torch.baddbmm(self.bias[chosen].unsqueeze(2), scaled_weight, inputs, alpha=self._factor)

    def parts(self, n_words: int) -> Sequence[Chosen]:
        """Divide the unfinished probes into parts of about equal size, for batches of n words."""
        on_cpu = self.columns.device.type == "cpu"
        n_bytes = 4 * n_words * self.columns.shape[1] * len(self.unfinished)
        n_parts = -(-n_bytes // _PART_BYTES["cpu" if on_cpu else "gpu"])
        if on_cpu:
            n_parts = max(n_parts, min(_LEAST_PARTS, n_bytes // _LEAST_BYTES))
        if not n_parts:
            return []
        parts = self.unfinished.cpu().tensor_split(min(n_parts, len(self.unfinished)))
        return [_neighbours(part) or part.to(self.columns.device) for part in parts]

    def cross_entropy(
        self,
        features: Float[Tensor, "columns words"],
        labels: Int[Tensor, "labellings words"],
        chosen: Chosen,
    ) -> Float[Tensor, "chosen words"]:
        """Compute the cross-entropy of every dev word for the chosen probes, and record it."""
        own, logits = labels[self.labelling[chosen]], self.forward(features, chosen)
        if self.recorder is not None:
            self.recorder.add_dev(logits, own)
        return functional.cross_entropy(logits, own, reduction="none")

    def prepare_gradient(self) -> None:
        """Allocate gradients; a group with only finished probes has none and is not updated."""
        for parameter in (self.scaled_weight, self.bias):
            parameter.grad = torch.zeros_like(parameter) if len(self.unfinished) else None

    @torch.no_grad()
    def put_gradient(
        self,
        features: Float[Tensor, "columns words"],
        labels: Int[Tensor, "labellings words"],
        chosen: Chosen,
        penalty: float,
    ) -> None:
        """Set the gradients of some probes on a batch.

        The objective is mean cross-entropy + penalty / 2 * ||W||^2 (biases are not penalised). Its
        gradient with respect to the logits is the predicted probability, minus 1 at the true class.
        The gradient is explicit because autograd would keep the columns of all probes in memory,
        and gradients of the whole W for each part.

        Args:
            features: Standardised activations.
            labels: Class of every word for every labelling.
            chosen: The probes; threads may set those of different probes at the same time.
            penalty: Weight of the squared norm.
        """
        assert self.scaled_weight.grad is not None
        assert self.bias.grad is not None
        n_words, factor = features.shape[1], self._factor
        inputs, weight = self._select(features, chosen), self.scaled_weight[chosen]
        own, residual = labels[self.labelling[chosen]], self._logits(inputs, weight, chosen).softmax(dim=1)
        if self.recorder is not None:
            self.recorder.add_train(residual, own)
        residual.scatter_(1, own.unsqueeze(1), -1.0, reduce="add")
        alpha, beta = factor / n_words, penalty * factor**2
        self.scaled_weight.grad[chosen] = torch.baddbmm(weight, residual, inputs.mT, beta=beta, alpha=alpha)
        self.bias.grad[chosen] = residual.mean(dim=2)

    def keep_best(self, loss: Float[Tensor, " unfinished"], epoch: int, patience: int) -> None:
        """End an epoch: save the probes that improved; finish those out of patience.

        Args:
            loss: Mean dev cross-entropy of the unfinished probes.
            epoch: Number of epochs trained so far.
            patience: Epochs without improvement after which a probe is finished.
        """
        if self.recorder is not None:
            self.recorder.end_epoch()
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

    def restore_best(self) -> None:
        """Restore the weights of each probe's best epoch; all probes are then used again."""
        with torch.no_grad():
            self.scaled_weight.copy_(self.best_scaled_weight)
            self.bias.copy_(self.best_bias)
        self.unfinished = torch.arange(len(self.columns), device=self.columns.device)


def _neighbours(probes: Int[Tensor, " some"]) -> slice | None:
    """The probes as a slice if their numbers are consecutive."""
    first, last = int(probes[0]), int(probes[-1])
    return slice(first, last + 1) if last - first + 1 == len(probes) else None
