"""The activations of a treebank: all of them in the cache, or their moments and single columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.reader import ActivationReader
from keyneurons.arrays import Stored, basis_facts, cached_file
from keyneurons.choices import Store
from keyneurons.digests import json_digest
from keyneurons.pipeline.columns import ColumnReader
from keyneurons.pipeline.moments import MomentReader, MomentSource
from keyneurons.pipeline.stored_rows import StoredRows
from keyneurons.pipeline.word_sample import read_sample
from keyneurons.probe.rows import Rows
from keyneurons.progress import stage
from keyneurons.records import SPLITS, Labels, Scope, Site, Split, Treebank
from keyneurons.selection.interface import Source
from keyneurons.selection.scoring import Driver
from keyneurons.selection.tagged_words import TaggedWords

Features = dict[Split, Float[Tensor, "_words columns"]]


@runtime_checkable
class Scorable(Protocol):
    """Values of neurons that a scorer can use."""

    def source(
        self, labels: Labels, scope: Scope, budget_bytes: int, sentences: Int[ndarray, " words"] | None = None
    ) -> Source:
        """The values of the train words as input of a scorer, within a memory budget.

        ``sentences`` are the sentences of the words; None treats words as independent.
        """
        ...


@runtime_checkable
class Activations(Scorable, Protocol):
    """The activations of a treebank, of all splits."""

    def columns(self, labels: Labels, columns: Int[ndarray, " columns"]) -> Features:
        """The activations of some neurons on the labelled words of every split.

        ``columns`` are ascending positions in the concatenated layers.
        """
        ...

    def rows(self, labels: Labels, columns: Int[ndarray, " columns"]) -> Mapping[Split, Rows]:
        """The same activations, read from stored arrays only when they are used."""
        ...

    def of_train(self, rows: Int[ndarray, " some"]) -> Scorable:
        """The values of some train words: these activations, or a copy of those words alone."""
        ...

    def identity(self) -> list[Any] | None:
        """JSON value that identifies the activations of all words; None without cache files."""
        ...

    def stored(self) -> StoredActivations:
        """The arrays in the cache.

        Raises:
            ValueError: The activations are not stored.
        """
        ...


@dataclass(frozen=True)
class StoredActivations:
    """Memory-mapped arrays by split and layer; scores are computed on ``device``."""

    arrays: Mapping[Split, Mapping[int, Float[Stored, "_words neurons"]]]
    site: Site
    device: str = "cpu"

    @classmethod
    def of(cls, read: ActivationReader, treebank: Treebank) -> StoredActivations:
        """Extract the activations of all splits into the cache.

        Every split is encoded before the first forward pass, so unreadable words raise early.
        """
        with stage("tokenising"):
            for split in SPLITS:
                if read.missing(treebank.splits[split]):
                    read.encode(treebank.splits[split])
        arrays = {split: read(treebank.splits[split], split) for split in SPLITS}
        return cls(arrays, read.site, str(read.model.device))

    def identity(self) -> list[Any] | None:
        """Site, and entry, name, shape, size, time and basis of every file.

        Cache files are never modified, but a file can be replaced.
        """
        files: list[Any] = []
        for array in [array for layers in self.arrays.values() for array in layers.values()]:
            if (file := cached_file(array)) is None:
                return None
            path, state = file
            facts = [path.parent.name, path.name, array.shape, state.st_size, state.st_mtime_ns]
            files.append([*facts, *basis_facts(array)])
        return [self.site, *files]

    def of_train(self, rows: Int[ndarray, " some"]) -> StoredActivations:
        """The object itself."""
        return self

    def stored(self) -> StoredActivations:
        """The object itself."""
        return self

    def source(
        self, labels: Labels, scope: Scope, budget_bytes: int, sentences: Int[ndarray, " words"] | None = None
    ) -> Driver:
        """The values of the train words as input of a scorer."""
        arrays, rows, n_tags = self.arrays["train"], labels.splits["train"].rows, len(labels.names)
        return Driver(arrays, rows, n_tags, self.site, scope, self.device, budget_bytes, sentences)

    def columns(self, labels: Labels, columns: Int[ndarray, " columns"]) -> Features:
        """The activations of some neurons on the labelled words of every split."""
        return {split: rows.all() for split, rows in self.rows(labels, columns).items()}

    def rows(self, labels: Labels, columns: Int[ndarray, " columns"]) -> dict[Split, StoredRows]:
        """The same activations, read from the arrays only when they are used."""
        arrays = {split: list(self.arrays[split].values()) for split in SPLITS}
        return {split: StoredRows(arrays[split], labels.splits[split].rows, columns) for split in SPLITS}


@dataclass(frozen=True)
class SummedActivations:
    """Moments and single columns in the cache, instead of all activations.

    Only scorers that work from moments can score them. Single columns are read when they are used.
    """

    moments: MomentReader
    single: ColumnReader

    @classmethod
    def of(cls, read: ActivationReader, treebank: Treebank, planned: Sequence[TaggedWords] = ()) -> SummedActivations:
        """The activations of a treebank; ``planned`` taggings share the first pass.

        Every split is encoded before the first forward pass, so unreadable words raise early.
        """
        for split in SPLITS:
            read.encode(treebank.splits[split])
        return cls(MomentReader(read, treebank, tuple(planned)), ColumnReader(read, treebank))

    @property
    def read(self) -> ActivationReader:
        """The reader of activations."""
        return self.moments.read

    def identity(self) -> list[Any]:
        """Site, layers, and everything that the activations of each split depend on."""
        keys = [json_digest(self.read.key(self.single.treebank.splits[split])) for split in SPLITS]
        return [self.read.site, list(self.read.layers), *keys, *self.read.basis_key]

    def of_train(self, rows: Int[ndarray, " some"]) -> StoredActivations:
        """The activations of all neurons on some train words, which are stored."""
        sentences = self.single.treebank.splits["train"]
        raw = read_sample(self.read.of_neurons(), sentences, rows)
        units = {layer: self.read.basis.stored(layer, array) for layer, array in raw.items()}
        return StoredActivations({"train": units}, self.read.site, self.device)

    @property
    def device(self) -> str:
        """Device of the model, on which scores are computed."""
        return str(self.read.model.device)

    def stored(self) -> StoredActivations:
        """Raise, since not all activations are stored.

        Raises:
            ValueError: Always.
        """
        raise ValueError("this analysis needs stored activations: activations.store=true")

    def source(
        self, labels: Labels, scope: Scope, budget_bytes: int, sentences: Int[ndarray, " words"] | None = None
    ) -> MomentSource:
        """The moments of the train words as input of a scorer."""
        return MomentSource(self.moments, labels.splits["train"].rows, len(labels.names), budget_bytes, sentences)

    def columns(self, labels: Labels, columns: Int[ndarray, " columns"]) -> Features:
        """The activations of some neurons on the labelled words of every split."""
        wanted = self.named(columns)
        self.single.require({self.read.site: wanted})
        return {
            split: torch.from_numpy(self.single(split, self.read.site, wanted)[labels.splits[split].rows])
            for split in SPLITS
        }

    def named(self, columns: Int[ndarray, " columns"]) -> Int[ndarray, "columns 2"]:
        """Layer and neuron of positions in the concatenated layers."""
        layer, neuron = np.divmod(columns, self.read.units)
        named: ndarray = np.stack([np.array(self.read.layers)[layer], neuron], axis=1)
        return named

    def rows(self, labels: Labels, columns: Int[ndarray, " columns"]) -> Features:
        """The same activations, read at once."""
        return self.columns(labels, columns)


def read_activations(
    read: ActivationReader, treebank: Treebank, *, store: Store, planned: Sequence[TaggedWords] = ()
) -> Activations:
    """Read the activations of a treebank.

    Args:
        read: Reader of activations.
        treebank: All sentences; unreadable words raise before the first forward pass.
        store: Whether all activations are stored in the cache, or moments and single columns.
        planned: Taggings whose moments will be needed, if moments are stored.

    Returns:
        The activations; stored ones are in the cache when the function returns.
    """
    if store == "moments":
        return SummedActivations.of(read, treebank, planned)
    return StoredActivations.of(read, treebank)
