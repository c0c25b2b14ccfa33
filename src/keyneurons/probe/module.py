"""A Lightning module for groups of independent logistic regressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import lightning
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.optim import Optimizer

from keyneurons.probe.batches import Batch, Batches
from keyneurons.probe.group import Chosen, ProbeGroup
from keyneurons.probe.workers import Workers

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class Part(NamedTuple):
    """Unfinished probes of one group."""

    group: int
    probes: Chosen
    cost: int


class LinearProbes(lightning.LightningModule):
    """Groups of probes trained together on the same words in the same order.

    The loss is the sum of the objectives of all probes. With an element-wise optimizer such as
    Adam, each probe is therefore trained as it would be alone. A probe is finished once its dev
    cross-entropy has not improved by 0.1 % for ``patience`` epochs; its best weights are kept and
    it is not trained further. Training stops when all probes are finished.

    The mini-batches are the same in every epoch, in a new order. One training step is a whole epoch
    and iterates over the mini-batches itself, since Lightning's overhead per step exceeds the cost
    of a step. On a CPU, threads share the probes; their number affects no more than rounding.
    """

    def __init__(
        self,
        groups: Sequence[ProbeGroup],
        *,
        optimizer: OptimizerFactory,
        penalty: float,
        patience: int,
        generator: torch.Generator,
        workers: Workers,
    ) -> None:
        """Register the groups.

        Args:
            groups: The probes.
            optimizer: Creates the optimizer of the parameters, which must be element-wise.
            penalty: Weight of the squared norm; 1 / (C * train words) for scikit-learn's ``C``.
            patience: Epochs without improvement of the dev cross-entropy until a probe is finished.
            generator: Generator of the order of the mini-batches, shuffled in every epoch.
            workers: The threads.
        """
        super().__init__()
        self.automatic_optimization = False
        self.groups = tuple(groups)
        self.probes = nn.ModuleList(groups)  # registers the parameters with Lightning
        self._optimizer = optimizer
        self._penalty = penalty
        self._patience = patience
        self._generator = generator
        self._workers = workers

    @property
    def n_probes(self) -> int:
        """Number of probes of all groups."""
        return sum(len(group.columns) for group in self.groups)

    @property
    def n_finished(self) -> int:
        """Number of finished probes of all groups."""
        return self.n_probes - sum(len(group.unfinished) for group in self.groups)

    def training_step(self, batches: Batches) -> None:
        """Train one epoch on the mini-batches in random order."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, lightning.pytorch.core.optimizer.LightningOptimizer)
        for group in self.groups:
            group.prepare_gradient()
        shares = self._shares(len(batches.words[0]))
        for batch in batches.in_order(torch.randperm(len(batches), generator=self._generator).tolist()):

            def put(share: Sequence[Part], batch: Batch = batch) -> None:
                for i, probes, _ in share:
                    self.groups[i].put_gradient(batch.features, batch.labels[i], probes, self._penalty)

            self._workers(put, shares)
            optimizer.step()

    def validation_step(self, batches: Batches) -> None:
        """Save the probes that improved on dev; stop when all probes are finished."""
        if self.trainer.sanity_checking:
            return
        shares = self._shares(len(batches.words[0]))
        losses = [group.bias.new_zeros(len(group.columns)) for group in self.groups]
        n_words = 0
        for batch in batches:
            n_words += batch.features.shape[1]

            def add(share: Sequence[Part], batch: Batch = batch) -> None:
                for i, probes, _ in share:
                    loss = self.groups[i].cross_entropy(batch.features, batch.labels[i], probes)
                    losses[i][probes] += loss.sum(dim=1)

            self._workers(add, shares)
        for group, loss in zip(self.groups, losses, strict=True):
            if len(group.unfinished):
                group.keep_best(loss[group.unfinished] / n_words, self.current_epoch + 1, self._patience)
        self.trainer.should_stop = all(not len(group.unfinished) for group in self.groups)

    def on_train_end(self) -> None:
        """Restore the best epoch of every probe."""
        for group in self.groups:
            group.restore_best()

    def predict_step(self, batch: Batch) -> list[Int[Tensor, "_probes words"]]:
        """Predict the most probable class per probe and word; ties go to the lower class."""
        n_words = batch.features.shape[1]
        predicted = [group.columns.new_empty(len(group.columns), n_words) for group in self.groups]

        def predict(share: Sequence[Part]) -> None:
            for i, probes, _ in share:
                # on a CPU, max is several times faster than argmax over a middle axis
                predicted[i][probes] = self.groups[i].forward(batch.features, probes).max(dim=1).indices

        self._workers(predict, self._shares(n_words))
        return predicted

    def configure_optimizers(self) -> Optimizer:
        """Create the optimizer of weights and biases."""
        return self._optimizer(self.parameters())

    def _shares(self, n_words: int) -> list[list[Part]]:
        """Divide the unfinished probes between the threads, the most expensive parts first."""
        parts = [
            Part(i, probes, group.columns[probes].numel() * group.n_classes)
            for i, group in enumerate(self.groups)
            for probes in group.parts(n_words)
        ]
        shares: list[list[Part]] = [[] for _ in range(self._workers.number)]
        for part in sorted(parts, key=lambda part: -part.cost):
            min(shares, key=lambda share: sum(each.cost for each in share)).append(part)
        return [share for share in shares if share]
