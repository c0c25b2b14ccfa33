"""A Lightning module for groups of independent logistic regressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import lightning
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer

from keyneurons.probe.batches import Batches
from keyneurons.probe.group import ProbeGroup

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class LinearProbes(lightning.LightningModule):
    """Groups of probes trained together on the same words in the same order.

    The loss is the sum of the objectives of all probes. With an element-wise optimizer such as
    Adam, each probe is therefore trained as it would be alone. A probe is finished once its dev
    cross-entropy has not improved by 0.1 % for ``patience`` epochs; its best weights are kept and
    it is not trained further. Training stops when all probes are finished.

    One training step is a whole epoch and iterates over the mini-batches itself, since Lightning's
    overhead per step exceeds the cost of a step.
    """

    def __init__(
        self,
        groups: Sequence[ProbeGroup],
        *,
        optimizer: OptimizerFactory,
        penalty: float,
        patience: int,
        batch_size: int,
        generator: torch.Generator,
    ) -> None:
        """Register the groups.

        Args:
            groups: The probes.
            optimizer: Creates the optimizer of the parameters, which must be element-wise.
            penalty: Weight of the squared norm; 1 / (C * train words) for scikit-learn's ``C``.
            patience: Epochs without improvement of the dev cross-entropy until a probe is finished.
            batch_size: Maximum number of words in a mini-batch.
            generator: Generator of the word order.
        """
        super().__init__()
        self.automatic_optimization = False
        self.groups = tuple(groups)
        self.probes = nn.ModuleList(groups)  # registers the parameters with Lightning
        self._optimizer = optimizer
        self._penalty = penalty
        self._patience = patience
        self._batch_size = batch_size
        self._generator = generator

    def training_step(self, split: tuple[Tensor, ...]) -> None:
        """Train one epoch.

        Args:
            split: Features ``[words, columns]`` and the labels ``[words, probes]`` of each group.
        """
        optimizer = self.optimizers()
        assert isinstance(optimizer, lightning.pytorch.core.optimizer.LightningOptimizer)
        for features, *labels in Batches(*split, batch_size=self._batch_size, generator=self._generator):
            optimizer.zero_grad()
            by_column = self._by_column(features)
            for group, own in self._unfinished(labels):
                group.put_gradient(by_column, own, self._penalty)
            optimizer.step()

    def validation_step(self, split: tuple[Tensor, ...]) -> None:
        """Save the probes that improved on dev; stop when all probes are finished."""
        if self.trainer.sanity_checking:
            return
        losses: dict[ProbeGroup, list[Tensor]] = {}
        for features, *labels in Batches(*split, batch_size=self._batch_size):
            by_column = self._by_column(features)
            for group, own in self._unfinished(labels):
                parts = [group.cross_entropy(by_column, own, some) for some in group.parts(len(features))]
                losses.setdefault(group, []).append(torch.cat(parts))
        for group, loss in losses.items():
            group.keep_best(torch.cat(loss, dim=1).mean(dim=1), self.current_epoch + 1, self._patience)
        self.trainer.should_stop = all(not len(group.unfinished) for group in self.groups)

    def on_train_end(self) -> None:
        """Restore the best epoch of every probe."""
        for group in self.groups:
            group.restore_best()

    def predict_step(self, batch: tuple[Float[Tensor, "words columns"]]) -> list[Int[Tensor, "_probes words"]]:
        """Predict the most probable class per probe and word; ties go to the lower class."""
        by_column = self._by_column(batch[0])
        all_probes = [torch.arange(len(group.columns), device=group.columns.device) for group in self.groups]
        return [
            group.forward(by_column, probes).argmax(dim=1)
            for group, probes in zip(self.groups, all_probes, strict=True)
        ]

    def configure_optimizers(self) -> Optimizer:
        """Create the optimizer of weights and biases."""
        return self._optimizer(self.parameters())

    def _by_column(self, features: Float[Tensor, "words columns"]) -> Float[Tensor, "columns words"]:
        return features.T if all(group.takes_all for group in self.groups) else features.T.contiguous()

    def _unfinished(self, labels: Sequence[Tensor]) -> Iterator[tuple[ProbeGroup, Tensor]]:
        pairs = zip(self.groups, labels, strict=True)
        return ((group, own) for group, own in pairs if len(group.unfinished))
