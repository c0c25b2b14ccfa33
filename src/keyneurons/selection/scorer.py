"""What a selection method is, and what every method demands of its input."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor


@runtime_checkable
class NeuronScorer(Protocol):
    """Says how strongly each neuron marks each tag; larger magnitude is stronger.

    A function or an object with this call is a selection method; it never writes to its input. It may say more about
    itself: ``per_neuron = True`` where the score of a neuron depends on no other neuron, so that blocks of neurons may
    be scored one after another, and ``test(values, tags, n_tags)``, which returns the scores, exactly as the call gives
    them, and their p-values, uncorrected, where the scores have a test of their own.
    """

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Score every neuron for every tag."""
        ...


class ColumnError(ValueError):
    """A column of activations cannot be scored; ``column`` says which and ``fault`` why."""

    def __init__(self, column: int, fault: str) -> None:
        super().__init__(f"column {column} {fault}")
        self.column = column
        self.fault = fault


class TagError(ValueError):
    """A tag cannot be scored; ``tag`` says which and ``fault`` why."""

    def __init__(self, tag: int, fault: str) -> None:
        super().__init__(f"tag {tag} {fault}")
        self.tag = tag
        self.fault = fault


def tag_counts(tags: Int[Tensor, " words"], n_words: int, n_tags: int) -> Int[Tensor, " tags"]:
    """Check the tags of some words, and count.

    Returns:
        Words of each tag.

    Raises:
        ValueError: If there is not one tag a word, or one is not in ``0..n_tags-1``.
        TagError: If a tag has no word or every word.
    """
    if n_words != len(tags):
        raise ValueError(f"values and tags must have one row per word, got {n_words} rows and {len(tags)} tags")
    if tags.numel() and not 0 <= int(tags.min()) <= int(tags.max()) < n_tags:
        raise ValueError(f"tags must lie in 0..{n_tags - 1}, got {int(tags.min())}..{int(tags.max())}")
    counts = torch.bincount(tags, minlength=n_tags)
    for tag, count in enumerate(counts.tolist()):
        if not 0 < count < len(tags):
            raise TagError(tag, f"needs a word and a word without it, got {count} of {len(tags)}")
    return counts


def checked_counts(
    values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
) -> Int[Tensor, " tags"]:
    """Check what every scorer takes for granted, and count.

    Returns:
        Words of each tag.

    Raises:
        ColumnError: If an activation is not finite; names the first such column.
    """
    counts = tag_counts(tags, len(values), n_tags)
    check_finite(values.isfinite().all(dim=0))
    return counts


def check_finite(finite: Tensor) -> None:
    """Refuse a column that is not finite.

    Raises:
        ColumnError: If there is one; names the first.
    """
    if not finite.all():
        raise ColumnError(int((~finite).nonzero()[0]), "holds an activation that is not finite")


def wide(values: Num[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """A copy by rows to sum in: float64, or float32 on a device that has no float64 (MPS)."""
    return values.to(wide_dtype(values.device), memory_format=torch.contiguous_format, copy=True)


def wide_dtype(device: torch.device) -> torch.dtype:
    """The widest floats that a device sums in."""
    return torch.float32 if device.type == "mps" else torch.float64
