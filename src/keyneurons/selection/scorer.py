"""The protocol of selection methods and the checks of their input."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor


@runtime_checkable
class NeuronScorer(Protocol):
    """Scores how strongly each neuron marks each tag; larger magnitudes are stronger.

    Any function or object with this call is a selection method; it must not modify its input. Two
    attributes are optional. ``per_neuron = True`` says that the score of a neuron does not depend
    on other neurons, so that blocks of neurons can be scored separately. ``test(values, tags,
    n_tags)`` returns the scores, identical to those of the call, and their uncorrected p-values.
    """

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Score every neuron for every tag."""
        ...


class ColumnError(ValueError):
    """A column of activations cannot be scored: ``column`` is its index, ``fault`` the reason."""

    def __init__(self, column: int, fault: str) -> None:
        super().__init__(f"column {column} {fault}")
        self.column = column
        self.fault = fault


class TagError(ValueError):
    """A tag cannot be scored: ``tag`` is its index, ``fault`` the reason."""

    def __init__(self, tag: int, fault: str) -> None:
        super().__init__(f"tag {tag} {fault}")
        self.tag = tag
        self.fault = fault


def tag_counts(tags: Int[Tensor, " words"], n_words: int, n_tags: int) -> Int[Tensor, " tags"]:
    """Validate the tags of some words and count them.

    Returns:
        Number of words of each tag.

    Raises:
        ValueError: If the number of tags and words differs, or a tag is not in ``0..n_tags-1``.
        TagError: If a tag has no words or all words.
    """
    if n_words != len(tags):
        raise ValueError(f"values and tags must have one row per word, got {n_words} rows and {len(tags)} tags")
    if tags.numel() and not 0 <= int(tags.min()) <= int(tags.max()) < n_tags:
        raise ValueError(f"tags must lie in 0..{n_tags - 1}, got {int(tags.min())}..{int(tags.max())}")
    counts = torch.bincount(tags, minlength=n_tags)
    for tag, count in enumerate(counts.tolist()):
        if not 0 < count < len(tags):
            raise TagError(tag, f"needs at least 1 word with it and 1 without, got {count} of {len(tags)}")
    return counts


def checked_counts(
    values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
) -> Int[Tensor, " tags"]:
    """Validate the input of a scorer and count the words of each tag.

    Returns:
        Number of words of each tag.

    Raises:
        ColumnError: If an activation is not finite; reports the first such column.
    """
    counts = tag_counts(tags, len(values), n_tags)
    check_finite(values.isfinite().all(dim=0))
    return counts


def check_finite(finite: Tensor) -> None:
    """Raise if a column is not finite.

    Raises:
        ColumnError: If a column is not finite; reports the first one.
    """
    if not finite.all():
        raise ColumnError(int((~finite).nonzero()[0]), "has an activation that is not finite")


def wide(values: Num[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """Row-major copy to sum in: float64, or float32 on devices without float64 (MPS)."""
    return values.to(wide_dtype(values.device), memory_format=torch.contiguous_format, copy=True)


def wide_dtype(device: torch.device) -> torch.dtype:
    """Widest floating-point type in which a device computes sums."""
    return torch.float32 if device.type == "mps" else torch.float64
