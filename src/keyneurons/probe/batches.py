"""Mini-batches of words, held on the training device or read whenever they are used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from keyneurons.probe.rows import Columns
from keyneurons.probe.standardise import Standardiser


class Batch(NamedTuple):
    """Standardised activations of some words, and their labels for each group of probes."""

    features: Float[Tensor, "columns words"]
    labels: tuple[Int[Tensor, "_labellings words"], ...]


class Batches:
    """Mini-batches of near-equal size, which avoids a noisy step on a small last batch.

    A batch has its columns as rows, since copying rows is several times faster than selecting
    columns. Not a dataclass, because Lightning copies the fields of one.
    """

    def __init__(
        self,
        columns: Columns,
        labels: Sequence[Int[Tensor, "_labellings words"]],
        *,
        batch_size: int,
        standardise: Standardiser,
        name: str,
        keep: bool,
        generator: torch.Generator | None = None,
    ) -> None:
        """Divide words into batches.

        Args:
            columns: Activations.
            labels: Labels of every word for each group of probes.
            batch_size: Maximum number of words in a batch.
            standardise: Applied to the activations of each batch.
            name: Name of the split in errors.
            keep: Whether prepared batches are kept in memory or prepared whenever they are used.
            generator: Shuffles the words; without it they stay in order.

        Raises:
            ValueError: An activation of a batch that is kept is not finite.
        """
        n = columns.n_words
        order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
        self.words = order.tensor_split(-(-n // batch_size))
        self._columns = columns
        self._labels = [own.to(columns.device) for own in labels]
        self._standardise = standardise
        self._name = name
        self._kept: Sequence[Batch] = ()
        if keep:
            self._kept = list(self)

    def release(self) -> None:
        """Free the batches that are kept: a Lightning trainer holds on to its data."""
        self._kept = ()

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.words)

    def __getitem__(self, i: int) -> Batch:
        """Prepare a batch, or take a kept one.

        Raises:
            ValueError: An activation is not finite.
            IndexError: There is no such batch.
        """
        if self._kept:
            return self._kept[i]
        values = self._standardise(self._columns[self.words[i]])
        if not values.sum().isfinite():
            self._report(i)
        own = self.words[i].to(values.device)
        return Batch(values.T.contiguous(), tuple(labels.index_select(1, own) for labels in self._labels))

    def __iter__(self) -> Iterator[Batch]:
        """All batches in order."""
        return self.in_order(range(len(self)))

    def in_order(self, order: Iterable[int]) -> Iterator[Batch]:
        """The batches in some order; a thread prepares the next one while a batch is used."""
        if self._kept:
            yield from (self._kept[i] for i in order)
            return
        with ThreadPoolExecutor(1) as ahead:
            following = None
            for i in order:
                current, following = following, ahead.submit(self.__getitem__, i)
                if current is not None:
                    yield current.result()
            if following is not None:
                yield following.result()

    def _report(self, i: int) -> None:
        finite = self._columns[self.words[i]].isfinite().all(dim=0)
        if not finite.all():
            first = int(self._columns.columns[int((~finite).nonzero()[0])])
            raise ValueError(f"non-finite feature columns in {self._name}: {int((~finite).sum())}, first {first}")


@dataclass(frozen=True)
class Loader:
    """One data loader of prepared items; a Trainer takes a plain list for several data loaders."""

    items: Sequence[object] | Batches

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.items)

    def __iter__(self) -> Iterator[object]:
        """Iterate over the items in order."""
        return iter(self.items)
