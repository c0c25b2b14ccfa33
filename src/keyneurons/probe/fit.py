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

from keyneurons.probe.batches import Batches, Loader
from keyneurons.probe.checks import check_columns, check_labels
from keyneurons.probe.curve import CurveRecorder, LearningCurve
from keyneurons.probe.group import ProbeGroup
from keyneurons.probe.rows import Columns, Rows
from keyneurons.probe.standardise import PIECE, Standardiser
from keyneurons.probe.workers import workers
from keyneurons.progress import stage
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
    Mini-batches larger than ``memory_bytes`` together are read again in every epoch.
    """

    optimizer: OptimizerFactory
    batch_size: int
    patience: int
    C: float
    memory_bytes: int = 512 * 2**20

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

    ``labels`` gives the class of every word for every labelling, in train and dev; test labels are
    unused. ``labelling`` is the row of ``labels`` of each probe; without it, all probes share one
    row, or each has its own. ``record`` is for a task of one probe, whose curve is recorded.
    """

    columns: Int[ndarray, "probes features"]
    labels: Mapping[Split, Int[Tensor, "_labellings _words"]]
    n_classes: int
    labelling: Int[ndarray, " probes"] | None = None
    record: bool = False

    @property
    def label_rows(self) -> Int[ndarray, " probes"]:
        """Row of ``labels`` of each probe."""
        if self.labelling is not None:
            return self.labelling
        n = len(self.columns)
        return np.zeros(n, dtype=np.int64) if len(self.labels["train"]) == 1 else np.arange(n)

    def labels_of_probes(self, split: Split) -> Int[Tensor, "probes words"]:
        """The class of every word of a split for every probe."""
        return self.labels[split][torch.from_numpy(self.label_rows)]


@dataclass(frozen=True)
class ProbeResults:
    """Trained probes, on the CPU, each at its epoch of lowest dev cross-entropy.

    The logits of a probe are ``(x[columns] - mean) / std @ weights + biases``; a column with
    ``std`` 0 contributes 0. ``best_epoch`` (from 1) is the epoch of each probe's weights,
    ``epochs`` the number of epochs until the last probe of all tasks finished. ``curve`` is that of
    a recorded probe.
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
    curve: LearningCurve | None = None


def train_probes(
    features: Mapping[Split, Rows],
    tasks: Sequence[ProbeTask],
    *,
    settings: ProbeSettings,
    trainer: Callable[[], lightning.Trainer],
    seed: int,
) -> list[ProbeResults]:
    """Train independent probes together on train, stop them by dev loss and predict test.

    Only columns that a probe uses are converted to float32. The function raises ``ValueError`` if
    shapes, columns or labels do not match, a feature is not finite or training diverges.

    Args:
        features: Activations of all three splits, any float type; test is read once, after
            training.
        tasks: Columns and labels of the probes. Each probe is trained as it would be alone.
        settings: Optimizer, batch size, patience, penalty and memory.
        trainer: Creates a Lightning Trainer with one device.
        seed: Seed of the batches and of their order, the only source of randomness.

    Returns:
        The trained probes of each task with their test predictions.
    """
    from keyneurons.probe.module import LinearProbes  # imports Lightning, which takes seconds

    for task in tasks:
        check_columns(task.columns, features["train"].shape[1])
        for split in ("train", "dev"):
            check_labels(split, task, features[split].shape[0])
    needed = np.unique(np.concatenate([task.columns.ravel() for task in tasks]))
    generator = torch.Generator().manual_seed(seed)
    with quiet_lightning():
        runner = _single_device(trainer())
        data = Prepared.of(features, tasks, needed, settings, runner.strategy.root_device, generator)
        with workers(runner.strategy.root_device) as threads:
            probes = LinearProbes(
                [_group(task, needed) for task in tasks],
                optimizer=settings.optimizer,
                penalty=1 / (settings.C * features["train"].shape[0]),
                patience=settings.patience,
                generator=generator,
                workers=threads,
            )
            _fit(runner, probes, data.train, data.dev)
            epochs = runner.current_epoch
            data.train.release()
            predicted = {"dev": _predict(runner, probes, data.dev), "test": _predict(runner, probes, data.test())}
            data.dev.release()
    mean, std = data.standardise.mean.cpu(), data.standardise.std.cpu()
    return [
        ProbeResults(
            columns=task.columns,
            weights=group.weight.detach().cpu(),
            biases=group.bias.detach().cpu(),
            mean=mean[group.columns.cpu()],
            std=std[group.columns.cpu()],
            dev_accuracy=(dev == task.labels_of_probes("dev").cpu()).double().mean(dim=1),
            test_predictions=test,
            best_epoch=group.best_epoch.cpu(),
            epochs=epochs,
            curve=group.recorder.curve() if group.recorder is not None else None,
        )
        for task, group, dev, test in zip(tasks, probes.groups, predicted["dev"], predicted["test"], strict=True)
    ]


@dataclass(frozen=True)
class Prepared:
    """The mini-batches of train and dev, and a function that makes those of test."""

    train: Batches
    dev: Batches
    standardise: Standardiser
    test: Callable[[], Batches]

    @classmethod
    def of(
        cls,
        features: Mapping[Split, Rows],
        tasks: Sequence[ProbeTask],
        needed: Int[ndarray, " needed"],
        settings: ProbeSettings,
        device: torch.device,
        generator: torch.Generator,
    ) -> Prepared:
        """Divide train and dev into batches, which are kept in memory if they fit."""
        columns = {
            split: Columns(rows, torch.from_numpy(needed).to(device), device) for split, rows in features.items()
        }
        n_values = (columns["train"].n_words + columns["dev"].n_words) * len(needed)
        keep = 4 * n_values <= _memory(settings.memory_bytes, device)
        standardise = Standardiser.fit(columns["train"].pieces(PIECE))
        batches = partial(Batches, batch_size=settings.batch_size, standardise=standardise, keep=keep)
        train_labels, dev_labels = ([task.labels[split] for task in tasks] for split in ("train", "dev"))
        train = batches(columns["train"], train_labels, name="train", generator=generator)
        dev = batches(columns["dev"], dev_labels, name="dev")
        return cls(train, dev, standardise, partial(batches, columns["test"], [], name="test", keep=False))


def _group(task: ProbeTask, needed: Int[ndarray, " needed"]) -> ProbeGroup:
    if task.record and len(task.columns) != 1:
        raise ValueError(f"only a single probe can be recorded, got {len(task.columns)}")
    recorder = CurveRecorder() if task.record else None
    return ProbeGroup(np.searchsorted(needed, task.columns), task.n_classes, task.label_rows, recorder)


def _memory(least: int, device: torch.device) -> int:
    """Bytes for the batches: at least the setting, and half of the free memory of a GPU."""
    return max(least, torch.cuda.mem_get_info(device)[0] // 2) if device.type == "cuda" else least


def _fit(runner: lightning.Trainer, probes: LinearProbes, train: Batches, dev: Batches) -> None:
    with stage("training probes", total=probes.n_probes, unit="probes", count=lambda: probes.n_finished):
        runner.fit(probes, train_dataloaders=Loader([train]), val_dataloaders=Loader([dev]))
    if runner.interrupted:
        raise KeyboardInterrupt
    for group in probes.groups:
        if not group.best_loss.isfinite().all():
            raise ValueError(f"{int((~group.best_loss.isfinite()).sum())} probes diverged; lower the learning rate")


def _predict(runner: lightning.Trainer, probes: LinearProbes, batches: Batches) -> list[Int[Tensor, "_probes words"]]:
    """Predict the words of a split with each group."""
    predicted = cast("list[list[Tensor]]", runner.predict(probes, Loader(batches)))
    return [torch.cat([part.cpu() for part in parts], dim=1) for parts in zip(*predicted, strict=True)]


def _single_device(trainer: lightning.Trainer) -> lightning.Trainer:
    if trainer.world_size != 1:
        raise ValueError(f"probes are trained on one device, but the trainer has {trainer.world_size}: set devices=1")
    return trainer
