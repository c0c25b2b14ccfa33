"""Trains a batch of probes and reads the test split once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import lightning
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.probe.batches import Batches
from keyneurons.probe.module import LinearProbes, OptimizerFactory
from keyneurons.probe.quiet import quiet_lightning
from keyneurons.probe.standardise import Standardiser
from keyneurons.records import Split


@dataclass(frozen=True)
class ProbeSettings:
    """How probes are trained.

    ``inverse_penalty`` is scikit-learn's ``C``: the objective is C * summed cross-entropy + ||W||^2 / 2. The optimizer
    must treat every element by itself (Adam, SGD), or the probes of a batch are no longer independent.
    """

    optimizer: OptimizerFactory
    batch_size: int
    patience: int
    inverse_penalty: float

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: if a number is not above 0
        """
        for name in ("batch_size", "patience", "inverse_penalty"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} of the probe must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class ProbeResults:
    """Trained probes, on the CPU, each at its epoch of lowest dev cross-entropy.

    Logits are ``(x[columns] - mean) / std @ weights + biases`` per probe, where a column with ``std`` 0 counts as 0.
    ``epochs`` is the number that the whole batch ran, ``best_epoch`` (from 1) the one kept for each probe.
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
    labels: Mapping[Split, Int[Tensor, "probes _words"]],
    columns: Int[ndarray, "probes features"],
    n_classes: int,
    *,
    settings: ProbeSettings,
    trainer: Callable[[], lightning.Trainer],
    seed: int,
) -> ProbeResults:
    """Train independent probes together: weights from train, stopping from dev, predictions for test.

    Only the columns that some probe reads are converted to float32 and moved to the Trainer's device. Shapes, columns
    or labels that do not fit, a feature that is not finite and training that diverges are each a ValueError.

    Args:
        features: activations of all three splits, any float type; test is read once, after the fit
        labels: class of every word for every probe, for train and dev; test labels are not looked at
        columns: columns of ``features`` that each probe reads
        n_classes: number of classes of every probe
        settings: optimizer, batch size, patience and penalty
        trainer: makes the Lightning Trainer of one device
        seed: of the order of the batches, the only randomness

    Returns:
        The trained probes with their test predictions.
    """
    _check_columns(columns, features["train"].shape[1])
    for split in ("train", "dev"):
        _check_labels(split, labels[split], (len(columns), len(features[split])), n_classes)
    needed, positions = np.unique(columns, return_inverse=True)
    standardiser = Standardiser.fit(_read(features, "train", needed))
    probes = LinearProbes(
        positions.reshape(columns.shape),
        n_classes,
        optimizer=settings.optimizer,
        penalty=1 / (settings.inverse_penalty * len(features["train"])),
        patience=settings.patience,
    )
    with quiet_lightning():
        runner = _single_device(trainer())
        train, dev = (standardiser(_read(features, split, needed)) for split in ("train", "dev"))
        _fit(runner, probes, (train, labels["train"]), (dev, labels["dev"]), settings.batch_size, seed)
        epochs = runner.current_epoch
        predicted = _predict(runner, probes, dev, settings.batch_size)
        test = standardiser(_read(features, "test", needed))
        test_predictions = _predict(runner, probes, test, settings.batch_size)
    return ProbeResults(
        columns=columns,
        weights=probes.weight.detach().cpu(),
        biases=probes.bias.detach().cpu(),
        mean=standardiser.mean[probes.columns.cpu()],
        std=standardiser.std[probes.columns.cpu()],
        dev_accuracy=(predicted == labels["dev"].cpu()).double().mean(dim=1),
        test_predictions=test_predictions,
        best_epoch=probes.best_epoch.cpu(),
        epochs=epochs,
    )


def _fit(
    runner: lightning.Trainer,
    probes: LinearProbes,
    train: tuple[Float[Tensor, "words columns"], Int[Tensor, "probes words"]],
    dev: tuple[Float[Tensor, "dev_words columns"], Int[Tensor, "probes dev_words"]],
    batch_size: int,
    seed: int,
) -> None:
    device = runner.strategy.root_device
    train_words, dev_words = ((x.to(device), y.T.contiguous().to(device)) for x, y in (train, dev))
    generator = torch.Generator().manual_seed(seed)
    runner.fit(
        probes,
        train_dataloaders=Batches(*train_words, batch_size=batch_size, generator=generator),
        val_dataloaders=Batches(*dev_words, batch_size=batch_size),
    )
    if runner.interrupted:
        raise KeyboardInterrupt
    if not probes.best_loss.isfinite().all():
        raise ValueError(f"{int((~probes.best_loss.isfinite()).sum())} probes diverged; lower the learning rate")


def _predict(
    runner: lightning.Trainer, probes: LinearProbes, features: Float[Tensor, "words columns"], batch_size: int
) -> Int[Tensor, "probes words"]:
    batches = runner.predict(probes, Batches(features, batch_size=batch_size))
    return torch.cat([batch.cpu() for batch in cast("list[Tensor]", batches)], dim=1)


def _read(
    features: Mapping[Split, Float[Tensor, "_words columns"]], split: Split, columns: Int[ndarray, " needed"]
) -> Float[Tensor, "words needed"]:
    values = features[split][:, torch.from_numpy(columns)].float()
    finite = values.isfinite().all(dim=0)
    if not finite.all():
        first = columns[int((~finite).nonzero()[0])]
        raise ValueError(f"{int((~finite).sum())} feature columns of {split} are not finite, the first is {first}")
    return values


def _single_device(trainer: lightning.Trainer) -> lightning.Trainer:
    if trainer.world_size != 1:
        raise ValueError(f"probes train on one device, but the trainer has {trainer.world_size}: set trainer.devices=1")
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
