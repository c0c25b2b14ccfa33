"""Many independent logistic regressions as one Lightning module."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import lightning
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

# An epoch is better only if it lowers the dev cross-entropy by this share (and by this share of a floor, in nats, or a
# class without a dev word, whose loss tends to zero, would never finish). Without it small probes creep on for long.
_MIN_GAIN = 1e-3
_LOSS_FLOOR = 0.1

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class LinearProbes(lightning.LightningModule):
    """A batch of multinomial logistic regressions, each on its own columns of one feature matrix.

    The loss is the sum over probes of mean cross-entropy + penalty / 2 * ||W||^2 (biases free), so no probe sees
    another's gradient: with an element-wise optimizer such as Adam each trains as it would alone. A probe has finished
    once its dev cross-entropy has not fallen by 0.1 % for ``patience`` epochs: its best epoch is kept, it is trained
    no further (alone it would have stopped here), and training stops when all have finished. Parameters start at
    zero: the problem is convex.

    W is a parameter divided by sqrt(features), so that one learning rate moves the logits of ten features and of a
    thousand at a like speed; with W itself the rate that suits ten overshoots a thousand within the first epoch.
    """

    columns: Int[Tensor, "probes features"]
    best_scaled_weight: Float[Tensor, "probes features classes"]
    best_bias: Float[Tensor, "probes classes"]
    best_loss: Float[Tensor, " probes"]
    best_epoch: Int[Tensor, " probes"]
    stale: Int[Tensor, " probes"]

    def __init__(
        self,
        columns: Int[ndarray, "probes features"],
        n_classes: int,
        *,
        optimizer: OptimizerFactory,
        penalty: float,
        patience: int,
    ) -> None:
        """Put every probe at zero.

        Args:
            columns: columns of the feature matrix that each probe reads
            n_classes: number of classes of every probe
            optimizer: makes the optimizer of the parameters; it must treat every element by itself
            penalty: weight of the squared norm; 1 / (C * train words) is scikit-learn's ``C``
            patience: epochs without a better dev cross-entropy after which a probe has finished
        """
        super().__init__()
        n_probes, n_features = columns.shape
        self.scaled_weight = nn.Parameter(torch.zeros(n_probes, n_features, n_classes))
        self.bias = nn.Parameter(torch.zeros(n_probes, n_classes))
        self.register_buffer("columns", torch.as_tensor(columns, dtype=torch.int64))
        self.register_buffer("best_scaled_weight", torch.zeros_like(self.scaled_weight))
        self.register_buffer("best_bias", torch.zeros_like(self.bias))
        self.register_buffer("best_loss", torch.full((n_probes,), torch.inf))
        self.register_buffer("best_epoch", torch.zeros(n_probes, dtype=torch.int64))
        self.register_buffer("stale", torch.zeros(n_probes, dtype=torch.int64))
        self._optimizer = optimizer
        self._penalty = penalty
        self._patience = patience
        self._dev_losses: list[Float[Tensor, "probes words"]] = []

    @property
    def weight(self) -> Float[Tensor, "probes features classes"]:
        """The weights W on the features."""
        return self.scaled_weight / math.sqrt(self.scaled_weight.shape[1])

    def forward(
        self, features: Float[Tensor, "words columns"], chosen: Int[Tensor, " chosen"]
    ) -> Float[Tensor, "chosen classes words"]:
        """Logits of the chosen probes for every word."""
        columns = self.columns[chosen]
        # Whole rows of the transposed matrix are copied: several times faster than picking columns.
        own = features.T.contiguous().index_select(0, columns.flatten()).view(*columns.shape, -1)
        return torch.baddbmm(self.bias[chosen].unsqueeze(2), self.weight[chosen].transpose(1, 2), own)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Float[Tensor, ""]:
        """Summed objective of the unfinished probes on features ``[words, columns]``, labels ``[words, probes]``."""
        return self._cross_entropy(batch).mean(dim=1).sum() + self._penalty / 2 * self.weight.square().sum()

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        """Collect the cross-entropy of the dev words."""
        self._dev_losses.append(self._cross_entropy(batch))

    def on_validation_epoch_end(self) -> None:
        """Keep the weights of every unfinished probe that improved; stop when all have finished."""
        loss = torch.cat(self._dev_losses, dim=1).mean(dim=1)
        self._dev_losses.clear()
        if self.trainer.sanity_checking:
            return
        self._keep_best(loss)
        self.trainer.should_stop = len(self._unfinished()) == 0

    def on_train_end(self) -> None:
        """Go back to the best epoch of every probe."""
        with torch.no_grad():
            self.scaled_weight.copy_(self.best_scaled_weight)
            self.bias.copy_(self.best_bias)

    def predict_step(self, batch: tuple[Tensor]) -> Int[Tensor, "probes words"]:
        """Most probable class of every word; ties go to the lower class."""
        everyone = torch.arange(len(self.columns), device=self.columns.device)
        return self.forward(batch[0], everyone).argmax(dim=1)

    def configure_optimizers(self) -> Optimizer:
        """The optimizer that the factory makes of weights and biases."""
        return self._optimizer(self.parameters())

    def _unfinished(self) -> Int[Tensor, " unfinished"]:
        return (self.stale < self._patience).nonzero().squeeze(1)

    def _cross_entropy(self, batch: tuple[Tensor, Tensor]) -> Float[Tensor, "unfinished words"]:
        features, labels = batch
        probes = self._unfinished()
        return functional.cross_entropy(self.forward(features, probes), labels.T[probes], reduction="none")

    def _keep_best(self, loss: Float[Tensor, " unfinished"]) -> None:
        probes = self._unfinished()
        best = self.best_loss[probes]
        better = best.isinf() | (loss < best - _MIN_GAIN * best.clamp(min=_LOSS_FLOOR))
        self.stale[probes] += 1
        probes = probes[better]
        self.stale[probes] = 0
        self.best_loss[probes] = loss[better]
        self.best_scaled_weight[probes] = self.scaled_weight.detach()[probes]
        self.best_bias[probes] = self.bias.detach()[probes]
        self.best_epoch[probes] = self.current_epoch + 1
