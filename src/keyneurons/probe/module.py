"""Groups of independent logistic regressions as one Lightning module."""

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
    """Groups of probes that see the same words in the same order, trained side by side.

    The loss is the sum of the objectives of all probes, so no probe sees another's gradient: with an element-wise
    optimizer such as Adam each trains as it would alone. A probe has finished once its dev cross-entropy has not fallen
    by 0.1 % for ``patience`` epochs: its best epoch is kept, it is trained no further (alone it would have stopped
    here), and training stops when all have finished.

    A training step is a whole epoch and takes the mini-batches itself, since a step of a probe costs less than what
    Lightning does around one.
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
        """Hold the groups.

        Args:
            groups: the probes
            optimizer: makes the optimizer of the parameters; it must treat every element by itself
            penalty: weight of the squared norm; 1 / (C * train words) is scikit-learn's ``C``
            patience: epochs without a better dev cross-entropy after which a probe has finished
            batch_size: words of a mini-batch, at most
            generator: of the order of the words
        """
        super().__init__()
        self.automatic_optimization = False
        self.groups = tuple(groups)
        self.probes = nn.ModuleList(groups)  # what Lightning moves and optimises
        self._optimizer = optimizer
        self._penalty = penalty
        self._patience = patience
        self._batch_size = batch_size
        self._generator = generator

    def training_step(self, split: tuple[Tensor, ...]) -> None:
        """One epoch on features ``[words, columns]`` and, for each group, labels ``[words, probes]``."""
        optimizer = self.optimizers()
        assert isinstance(optimizer, lightning.pytorch.core.optimizer.LightningOptimizer)
        for features, *labels in Batches(*split, batch_size=self._batch_size, generator=self._generator):
            optimizer.zero_grad()
            by_column = self._by_column(features)
            for group, own in self._unfinished(labels):
                group.put_gradient(by_column, own, self._penalty)
            optimizer.step()

    def validation_step(self, split: tuple[Tensor, ...]) -> None:
        """Keep the weights of every unfinished probe that improved on dev; stop when all have finished."""
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
        """Go back to the best epoch of every probe."""
        for group in self.groups:
            group.go_back()

    def predict_step(self, batch: tuple[Float[Tensor, "words columns"]]) -> list[Int[Tensor, "_probes words"]]:
        """Most probable class of every word by the probes of each group; ties go to the lower class."""
        by_column = self._by_column(batch[0])
        everyone = [torch.arange(len(group.columns), device=group.columns.device) for group in self.groups]
        return [
            group.forward(by_column, probes).argmax(dim=1) for group, probes in zip(self.groups, everyone, strict=True)
        ]

    def configure_optimizers(self) -> Optimizer:
        """The optimizer that the factory makes of weights and biases."""
        return self._optimizer(self.parameters())

    def _by_column(self, features: Float[Tensor, "words columns"]) -> Float[Tensor, "columns words"]:
        return features.T if all(group.takes_all for group in self.groups) else features.T.contiguous()

    def _unfinished(self, labels: Sequence[Tensor]) -> Iterator[tuple[ProbeGroup, Tensor]]:
        pairs = zip(self.groups, labels, strict=True)
        return ((group, own) for group, own in pairs if len(group.unfinished))
