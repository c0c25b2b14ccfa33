"""Checks of the columns and labels of probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Int
from numpy import ndarray

from keyneurons.records import Split

if TYPE_CHECKING:
    from keyneurons.probe.fit import ProbeTask


def check_columns(columns: Int[ndarray, "probes features"], width: int) -> None:
    """Check the columns of probes among ``width`` columns.

    Raises:
        ValueError: If they are empty or out of range.
    """
    if columns.ndim != 2 or columns.size == 0:
        raise ValueError(f"columns must be [probes, features], neither empty, got shape {columns.shape}")
    if columns.min() < 0 or columns.max() >= width:
        raise ValueError(f"columns must lie in 0..{width - 1}, got {columns.min()}..{columns.max()}")


def check_labels(split: Split, task: ProbeTask, n_words: int) -> None:
    """Check the labels of a split.

    Raises:
        ValueError: If their number or range is wrong.
    """
    labels, n_probes = task.labels[split], len(task.columns)
    if task.labelling is None and len(labels) not in {1, n_probes}:
        raise ValueError(f"{split} labels must be of 1 or {n_probes} probes, got {len(labels)}")
    if labels.shape[1] != n_words:
        raise ValueError(f"{split} labels must be of {n_words} words, got {labels.shape[1]}")
    if labels.min() < 0 or labels.max() >= task.n_classes:
        raise ValueError(f"{split} labels must lie in 0..{task.n_classes - 1}, got {labels.min()}..{labels.max()}")
