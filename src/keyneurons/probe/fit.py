"""Trains groups of probes together and reads the test split once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import lightning
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.probe.batches import Batches
from keyneurons.probe.group import ProbeGroup
from keyneurons.probe.module import LinearProbes, OptimizerFactory
from keyneurons.probe.standardise import Standardiser
from keyneurons.quiet import quiet_lightning
from keyneurons.records import Split


@dataclass(frozen=True)
class ProbeSettings:
    """How probes are trained.

    ``C`` is scikit-learn's: the objective is C * summed cross-entropy + ||W||^2 / 2. The optimizer
    must treat every element by itself (Adam, SGD), or the probes of a batch are no longer independent.
    """

    optimizer: OptimizerFactory
    batch_size: int
    patience: int
    C: float

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: if a number is not above 0
        """
        for name in ("batch_size", "patience", "C"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} of the probe must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class ProbeTask:
    """What probes of one number of features and of classes are to learn, each of its own labels from its own columns.

    ``labels`` are the class of every word for every probe, for train and dev; test labels are not looked at.
    """

    columns: Int[ndarray, "probes features"]
    labels: Mapping[Split, Int[Tensor, "probes _words"]]
    n_classes: int


@dataclass(frozen=True)
class ProbeResults:
    """Trained probes, on the CPU, each at its epoch of lowest dev cross-entropy.

    Logits are ``(x[columns] - mean) / std @ weights + biases`` per probe, where a column with ``std`` 0 counts as 0.
    ``best_epoch`` (from 1) is the one kept for each probe, ``epochs`` how many ran until the last probe of any task had
    finished.
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
    """Train independent probes together: weights from train, stopping from dev, predictions for test.

    Only the columns that some probe reads are converted to float32 and moved to the Trainer's device. Shapes, columns
    or labels that do not fit, a feature that is not finite and training that diverges are each a ValueError.

    Args:
        features: activations of all three splits, any float type; test is read once, after the fit
        tasks: what the probes read and learn; each learns what it would learn alone
        settings: optimizer, batch size, patience and penalty
        trainer: makes the Lightning Trainer of one device
        seed: of the order of the batches, the only randomness

    Returns:
        The trained probes of each task with their test predictions.
    """
    for task in tasks:
        _check_columns(task.columns, features["train"].shape[1])
        for split in ("train", "dev"):
            _check_labels(split, task.labels[split], (len(task.columns), len(features[split])), task.n_classes)
    needed = np.unique(np.concatenate([task.columns.ravel() for task in tasks]))
    train = _read(features, "train", needed)
    standardiser = Standardiser.fit(train)
    probes = LinearProbes(
        [ProbeGroup(np.searchsorted(needed, task.columns), task.n_classes) for task in tasks],
        optimizer=settings.optimizer,
        penalty=1 / (settings.C * len(train)),
        patience=settings.patience,
        batch_size=settings.batch_size,
        generator=torch.Generator().manual_seed(seed),
    )
    with quiet_lightning():
        runner = _single_device(trainer())
        dev = standardiser(_read(features, "dev", needed))
        _fit(runner, probes, (standardiser(train), *_by_word(tasks, "train")), (dev, *_by_word(tasks, "dev")))
        epochs = runner.current_epoch
        on_dev = _predict(runner, probes, dev, settings.batch_size)
        on_test = _predict(runner, probes, standardiser(_read(features, "test", needed)), settings.batch_size)
    return [
        ProbeResults(
            columns=task.columns,
            weights=group.weight.detach().cpu(),
            biases=group.bias.detach().cpu(),
            mean=standardiser.mean[group.columns.cpu()],
            std=standardiser.std[group.columns.cpu()],
            dev_accuracy=(dev_predictions == task.labels["dev"].cpu()).double().mean(dim=1),
            test_predictions=test_predictions,
            best_epoch=group.best_epoch.cpu(),
            epochs=epochs,
        )
        for task, group, dev_predictions, test_predictions in zip(tasks, probes.groups, on_dev, on_test, strict=True)
    ]


def _by_word(tasks: Sequence[ProbeTask], split: Split) -> list[Int[Tensor, "words _probes"]]:
    return [task.labels[split].T.contiguous() for task in tasks]


def _fit(runner: lightning.Trainer, probes: LinearProbes, train: tuple[Tensor, ...], dev: tuple[Tensor, ...]) -> None:
    device = runner.strategy.root_device
    whole = [Batches(*(each.to(device) for each in split), batch_size=len(split[0])) for split in (train, dev)]
    runner.fit(probes, train_dataloaders=whole[0], val_dataloaders=whole[1])
    if runner.interrupted:
        raise KeyboardInterrupt
    for group in probes.groups:
        if not group.best_loss.isfinite().all():
            raise ValueError(f"{int((~group.best_loss.isfinite()).sum())} probes diverged; lower the learning rate")


def _predict(
    runner: lightning.Trainer, probes: LinearProbes, features: Float[Tensor, "words columns"], batch_size: int
) -> list[Int[Tensor, "_probes words"]]:
    batches = cast("list[list[Tensor]]", runner.predict(probes, Batches(features, batch_size=batch_size)))
    return [torch.cat([part.cpu() for part in parts], dim=1) for parts in zip(*batches, strict=True)]


def _read(
    features: Mapping[Split, Float[Tensor, "_words columns"]], split: Split, columns: Int[ndarray, " needed"]
) -> Float[Tensor, "words needed"]:
    values = features[split].index_select(1, torch.from_numpy(columns)).float()
    finite = values.amin(dim=0).isfinite() & values.amax(dim=0).isfinite()
    if not finite.all():
        first = columns[int((~finite).nonzero()[0])]
        raise ValueError(f"{int((~finite).sum())} feature columns of {split} are not finite, the first is {first}")
    return values


def _single_device(trainer: lightning.Trainer) -> lightning.Trainer:
    if trainer.world_size != 1:
        raise ValueError(f"probes train on one device, but the trainer has {trainer.world_size}: give it devices=1")
    return trainer


def _check_columns(columns: Int[ndarray, "probes features"], width: int) -> None:
    if columns.ndim != 2 or columns.size == 0:
        raise ValueError(f"columns must be [probes, features] with neither empty, got shape {columns.shape}")
    if columns.min() < 0 or columns.max() >= width:
        raise ValueError(f"columns must lie in 0..{width - 1}, got {columns.min()}..{columns.max()}")


def _check_labels(split: Split, labels: Int[Tensor, "probes words"], shape: tuple[int, int], n_classes: int) -> None:
    if tuple(labels.shape) != shape:
        raise ValueError(f"{split} labels must be [probes, words] = {list(shape)}, got {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(f"{split} labels must lie in 0..{n_classes - 1}, got {labels.min()}..{labels.max()}")
