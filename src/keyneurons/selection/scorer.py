"""What a selection method is, and what every method demands of its input."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor


@runtime_checkable
class NeuronScorer(Protocol):
    """Says how strongly each neuron marks each tag; larger magnitude is stronger.

    ``per_neuron`` is true where the score of a neuron depends on no other neuron, so that blocks of neurons may be
    scored one after another. A scorer never writes to its input.
    """

    per_neuron: ClassVar[bool]

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Score every neuron for every tag."""
        ...


@runtime_checkable
class SignificantScorer(NeuronScorer, Protocol):
    """A scorer whose scores have a test of their own against independence of neuron and tag."""

    def test(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
        """The scores, exactly as the call gives them, and their p-values, uncorrected."""
        ...


class NonFiniteColumnError(ValueError):
    """A column of activations holds a value that is not finite; ``column`` says which."""

    def __init__(self, column: int, n_values: int) -> None:
        super().__init__(f"activations must be finite, got {n_values} values that are not in column {column}")
        self.column = column
        self.n_values = n_values


def checked_counts(
    values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
) -> Int[Tensor, " tags"]:
    """Check what every scorer takes for granted, and count.

    Returns:
        Words of each tag.

    Raises:
        ValueError: If there is not one tag a word, one is not in ``0..n_tags-1``, or one has no word or every word.
        NonFiniteColumnError: If an activation is not finite; names the first such column.
    """
    if len(values) != len(tags):
        raise ValueError(f"values and tags must have one row per word, got {len(values)} rows and {len(tags)} tags")
    if tags.numel() and not 0 <= int(tags.min()) <= int(tags.max()) < n_tags:
        raise ValueError(f"tags must lie in 0..{n_tags - 1}, got {int(tags.min())}..{int(tags.max())}")
    counts = torch.bincount(tags, minlength=n_tags)
    for tag, count in enumerate(counts.tolist()):
        if not 0 < count < len(tags):
            raise ValueError(f"every tag needs a word and a word without it, got {count} of {len(tags)} for tag {tag}")
    bad = (~values.isfinite()).sum(dim=0)
    if bad.any():
        column = int(bad.nonzero()[0])
        raise NonFiniteColumnError(column, int(bad[column]))
    return counts


def wide(values: Num[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """A copy by rows to sum in: float64, or float32 on a device that has no float64 (MPS)."""
    dtype = torch.float32 if values.device.type == "mps" else torch.float64
    return values.to(dtype, memory_format=torch.contiguous_format, copy=True)
