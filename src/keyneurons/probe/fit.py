"""Trains probes on train with early stopping on dev, and predicts the test split once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.probe.batches import Batch, Loader, in_batches
from keyneurons.probe.group import ProbeGroup
from keyneurons.probe.standardise import Standardiser
from keyneurons.quiet import quiet_lightning
from keyneurons.records import Split

if TYPE_CHECKING:
    import lightning

    from keyneurons.probe.module import LinearProbes, OptimizerFactory


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of probe training.

    ``C`` is scikit-learn's inverse penalty: the objective is C * summed cross-entropy + ||W||^2 /
    2. The optimizer must be element-wise (Adam, SGD); otherwise the probes are not independent.
    """

    optimizer: OptimizerFactory
    batch_size: int
    patience: int
    C: float

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: If a number is not above 0.
        """
        for name in ("batch_size", "patience", "C"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} of the probe must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class ProbeTask:
    """Columns and labels of probes with the same number of features and of classes.

    ``labels`` gives the class of every word for every probe, in train and dev; test labels are
    unused.
    """

    columns: Int[ndarray, "probes features"]
    labels: Mapping[Split, Int[Tensor, "probes _words"]]
    n_classes: int


@dataclass(frozen=True)
class ProbeResults:
    """Trained probes, on the CPU, each at its epoch of lowest dev cross-entropy.

    The logits of a probe are ``(x[columns] - mean) / std @ weights + biases``; a column with
    ``std`` 0 contributes 0. ``best_epoch`` (from 1) is the epoch of each probe's weights,
    ``epochs`` the number of epochs until the last probe of all tasks finished.
    """

    columns: Int[ndarray, "probes features"]
    weights: Float[Tensor, "probes features classes"]
    biases: Float[Tensor, "probes classes"]
    mean: Float[Tensor, "probes features"]
    std: Float[Tensor, "probes features"]
    dev_accuracy: Float[Tensor, " probes"]
    test_predictions: Int[Tensor, "probes words"]
    best_epoch: Int[Tensor, " probes"]
    epochs: int


def train_probes(
    features: Mapping[Split, Float[Tensor, "_words columns"]],
    tasks: Sequence[ProbeTask],
    *,
    settings: ProbeSettings,
    trainer: Callable[[], lightning.Trainer],
    seed: int,
) -> list[ProbeResults]:
    """Train independent probes together on train, stop them by dev loss and predict test.

    Only columns that a probe uses are converted to float32 and moved to the Trainer's device. The
    function raises ``ValueError`` if shapes, columns or labels do not match, a feature is not
    finite or training diverges.

    Args:
        features: Activations of all three splits, any float type; test is read once, after
            training.
        tasks: Columns and labels of the probes. Each probe is trained as it would be alone.
        settings: Optimizer, batch size, patience and penalty.
        trainer: Creates a Lightning Trainer with one device.
        seed: Seed of the batches and of their order, the only source of randomness.

    Returns:
        The trained probes of each task with their test predictions.
    """
    from keyneurons.probe.module import LinearProbes  # imports Lightning, which takes seconds

    for task in tasks:
        _check_columns(task.columns, features["train"].shape[1])
        for split in ("train", "dev"):
            _check_labels(split, task.labels[split], (len(task.columns), len(features[split])), task.n_classes)
    needed = np.unique(np.concatenate([task.columns.ravel() for task in tasks]))
    train = _needed_columns(features, "train", needed)
    standardiser, generator = Standardiser.fit(train), torch.Generator().manual_seed(seed)
    probes = LinearProbes(
        [ProbeGroup(np.searchsorted(needed, task.columns), task.n_classes) for task in tasks],
        optimizer=settings.optimizer,
        penalty=1 / (settings.C * len(train)),
        patience=settings.patience,
        generator=generator,
    )
    with quiet_lightning():
        runner = _single_device(trainer())
        batches = partial(
            in_batches, batch_size=settings.batch_size, prepare=standardiser, device=runner.strategy.root_device
        )
        train_batches = batches(train, [task.labels["train"] for task in tasks], generator=generator)
        del train  # the batches are a copy
        dev = batches(_needed_columns(features, "dev", needed), [task.labels["dev"] for task in tasks])
        _fit(runner, probes, train_batches, dev)
        epochs = runner.current_epoch
        test = batches(_needed_columns(features, "test", needed), [])
        predictions = _predict(runner, probes, dev + test, [len(features[split]) for split in ("dev", "test")])
    return [
        ProbeResults(
            columns=task.columns,
            weights=group.weight.detach().cpu(),
            biases=group.bias.detach().cpu(),
            mean=standardiser.mean[group.columns.cpu()],
            std=standardiser.std[group.columns.cpu()],
            dev_accuracy=(predicted_dev == task.labels["dev"].cpu()).double().mean(dim=1),
            test_predictions=predicted_test.contiguous(),
            best_epoch=group.best_epoch.cpu(),
            epochs=epochs,
        )
        for task, group, (predicted_dev, predicted_test) in zip(tasks, probes.groups, predictions, strict=True)
    ]


def _fit(runner: lightning.Trainer, probes: LinearProbes, train: list[Batch], dev: list[Batch]) -> None:
    runner.fit(probes, train_dataloaders=Loader([train]), val_dataloaders=Loader([dev]))
    if runner.interrupted:
        raise KeyboardInterrupt
    for group in probes.groups:
        if not group.best_loss.isfinite().all():
            raise ValueError(f"{int((~group.best_loss.isfinite()).sum())} probes diverged; lower the learning rate")


def _predict(
    runner: lightning.Trainer, probes: LinearProbes, batches: list[Batch], lengths: list[int]
) -> list[tuple[Int[Tensor, "_probes _words"], ...]]:
    """Predict consecutive splits of these lengths.

    Returns:
        The predictions of each group for each split.
    """
    predicted = cast("list[list[Tensor]]", runner.predict(probes, Loader(batches)))
    joined = [torch.cat([part.cpu() for part in parts], dim=1) for parts in zip(*predicted, strict=True)]
    return [torch.split(words, lengths, dim=1) for words in joined]


def _needed_columns(
    features: Mapping[Split, Float[Tensor, "_words columns"]], split: Split, columns: Int[ndarray, " needed"]
) -> Float[Tensor, "words needed"]:
    values = features[split].index_select(1, torch.from_numpy(columns)).float()
    finite = values.amin(dim=0).isfinite() & values.amax(dim=0).isfinite()
    if not finite.all():
        first = columns[int((~finite).nonzero()[0])]
        raise ValueError(f"non-finite feature columns in {split}: {int((~finite).sum())}, first {first}")
    return values


def _single_device(trainer: lightning.Trainer) -> lightning.Trainer:
    if trainer.world_size != 1:
        raise ValueError(f"probes are trained on one device, but the trainer has {trainer.world_size}: set devices=1")
    return trainer


def _check_columns(columns: Int[ndarray, "probes features"], width: int) -> None:
    if columns.ndim != 2 or columns.size == 0:
        raise ValueError(f"columns must be [probes, features], neither empty, got shape {columns.shape}")
    if columns.min() < 0 or columns.max() >= width:
        raise ValueError(f"columns must lie in 0..{width - 1}, got {columns.min()}..{columns.max()}")


def _check_labels(split: Split, labels: Int[Tensor, "probes words"], shape: tuple[int, int], n_classes: int) -> None:
    if tuple(labels.shape) != shape:
        raise ValueError(f"{split} labels must be [probes, words] = {list(shape)}, got {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(f"{split} labels must lie in 0..{n_classes - 1}, got {labels.min()}..{labels.max()}")
