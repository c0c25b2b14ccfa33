"""Mini-batches of words, prepared once on the training device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Batch(NamedTuple):
    """Inputs and classes of some words; ``labels`` has one tensor for each group of probes."""

    features: Float[Tensor, "columns words"]
    labels: tuple[Int[Tensor, "_probes words"], ...]


@dataclass(frozen=True)
class Loader:
    """One data loader of prepared items; a Trainer takes a plain list for several data loaders."""

    items: Sequence[object]

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.items)

    def __iter__(self) -> Iterator[object]:
        """Iterate over the items in order."""
        return iter(self.items)


def in_batches(
    features: Float[Tensor, "words columns"],
    labels: Sequence[Int[Tensor, "_probes words"]],
    *,
    batch_size: int,
    prepare: Callable[[Tensor], Tensor],
    device: torch.device,
    generator: torch.Generator | None = None,
) -> list[Batch]:
    """Split words into batches of near-equal size, which avoids a noisy step on a small last batch.

    A batch has its columns as rows, since copying rows is several times faster than selecting
    columns.

    Args:
        features: Activations.
        labels: Class of every word for every probe of each group.
        batch_size: Maximum number of words in a batch.
        prepare: Applied to the activations of each batch.
        device: Device of the batches.
        generator: Shuffles the words; without it they stay in order.

    Returns:
        The batches.
    """
    n_words = len(features)
    order = torch.arange(n_words) if generator is None else torch.randperm(n_words, generator=generator)
    return [
        Batch(
            prepare(features.index_select(0, words)).to(device).T.contiguous(),
            tuple(own.to(device).index_select(1, words.to(device)) for own in labels),
        )
        for words in order.tensor_split(-(-n_words // batch_size))
    ]
