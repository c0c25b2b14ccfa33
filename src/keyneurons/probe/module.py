"""A Lightning module for groups of independent logistic regressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import lightning
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.optim import Optimizer

from keyneurons.probe.batches import Batch
from keyneurons.probe.group import ProbeGroup

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class LinearProbes(lightning.LightningModule):
    """Groups of probes trained together on the same words in the same order.

    The loss is the sum of the objectives of all probes. With an element-wise optimizer such as
    Adam, each probe is therefore trained as it would be alone. A probe is finished once its dev
    cross-entropy has not improved by 0.1 % for ``patience`` epochs; its best weights are kept and
    it is not trained further. Training stops when all probes are finished.

    The mini-batches are the same in every epoch, in a new order. One training step is a whole epoch
    and iterates over the mini-batches itself, since Lightning's overhead per step exceeds the cost
    of a step.
    """

    def __init__(
        self,
        groups: Sequence[ProbeGroup],
        *,
        optimizer: OptimizerFactory,
        penalty: float,
        patience: int,
        generator: torch.Generator,
    ) -> None:
        """Register the groups.

        Args:
            groups: The probes.
            optimizer: Creates the optimizer of the parameters, which must be element-wise.
            penalty: Weight of the squared norm; 1 / (C * train words) for scikit-learn's ``C``.
            patience: Epochs without improvement of the dev cross-entropy until a probe is finished.
            generator: Generator of the order of the mini-batches, shuffled in every epoch.
        """
        super().__init__()
        self.automatic_optimization = False
        self.groups = tuple(groups)
        self.probes = nn.ModuleList(groups)  # registers the parameters with Lightning
        self._optimizer = optimizer
        self._penalty = penalty
        self._patience = patience
        self._generator = generator

    def training_step(self, batches: Sequence[Batch]) -> None:
        """Train one epoch on the mini-batches in random order."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, lightning.pytorch.core.optimizer.LightningOptimizer)
        for i in torch.randperm(len(batches), generator=self._generator).tolist():
            for group, labels in self._unfinished(batches[i]):
                group.put_gradient(batches[i].features, labels, self._penalty)
            optimizer.step()

    def validation_step(self, batches: Sequence[Batch]) -> None:
        """Save the probes that improved on dev; stop when all probes are finished."""
        if self.trainer.sanity_checking:
            return
        losses: dict[ProbeGroup, list[Tensor]] = {}
        for batch in batches:
            features = batch.features
            for group, labels in self._unfinished(batch):
                parts = [group.cross_entropy(features, labels, some) for some in group.parts(features.shape[1])]
                losses.setdefault(group, []).append(torch.cat(parts))
        for group, loss in losses.items():
            group.keep_best(torch.cat(loss, dim=1).mean(dim=1), self.current_epoch + 1, self._patience)
        self.trainer.should_stop = all(not len(group.unfinished) for group in self.groups)

    def on_train_end(self) -> None:
        """Restore the best epoch of every probe."""
        for group in self.groups:
            group.restore_best()

    def predict_step(self, batch: Batch) -> list[Int[Tensor, "_probes words"]]:
        """Predict the most probable class per probe and word; ties go to the lower class."""
        # on a CPU, max is several times faster than argmax over a middle axis
        return [
            group.forward(batch.features, torch.arange(len(group.columns), device=self.device)).max(dim=1).indices
            for group in self.groups
        ]

    def configure_optimizers(self) -> Optimizer:
        """Create the optimizer of weights and biases."""
        return self._optimizer(self.parameters())

    def _unfinished(self, batch: Batch) -> Iterator[tuple[ProbeGroup, Tensor]]:
        pairs = zip(self.groups, batch.labels, strict=True)
        return ((group, labels) for group, labels in pairs if len(group.unfinished))
