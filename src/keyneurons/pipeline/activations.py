"""The activations of a treebank: stored in the cache, or streamed from the model on each use."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.reader import ActivationReader
from keyneurons.pipeline.stored_rows import StoredRows
from keyneurons.probe.rows import Rows
from keyneurons.progress import stage
from keyneurons.records import SPLITS, LabelledWords, Labels, Scope, Site, Split, Treebank
from keyneurons.selection.interface import Source
from keyneurons.selection.scoring import Driver
from keyneurons.selection.stream import Chunk, Stream

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

    arrays: Mapping[Split, Mapping[int, Float[ndarray, "_words neurons"]]]
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
        """Site, and entry, name, shape, size and time of every file.

        Cache files are never modified, but a file can be replaced.
        """
        files: list[Any] = []
        for array in [array for layers in self.arrays.values() for array in layers.values()]:
            if not isinstance(array, np.memmap) or array.filename is None or not os.path.exists(array.filename):
                return None
            state, path = os.stat(array.filename), Path(array.filename)
            files.append([path.parent.name, path.name, array.shape, state.st_size, state.st_mtime_ns])
        return [self.site, *files]

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
class StreamedActivations:
    """Activations that are not stored: every use is one pass over the text.

    Only scorers that work from moments can score them.
    """

    read: ActivationReader
    treebank: Treebank

    def identity(self) -> None:
        """None: nothing is stored."""

    def stored(self) -> StoredActivations:
        """Raise, since nothing is stored.

        Raises:
            ValueError: Always.
        """
        raise ValueError("this analysis needs stored activations: activations.store=true")

    def source(
        self, labels: Labels, scope: Scope, budget_bytes: int, sentences: Int[ndarray, " words"] | None = None
    ) -> Stream:
        """The values of the train words as input of a scorer."""
        place = self._places(labels.splits["train"], "train")

        def chunks() -> Iterator[Chunk]:
            for rows, values in self.read.stream(self.treebank.splits["train"], "train"):
                labelled = place[rows]
                is_labelled = torch.from_numpy(labelled >= 0).to(self.read.model.device)
                yield labelled[labelled >= 0], {layer: array[is_labelled] for layer, array in values.items()}

        read, n_tags = self.read, len(labels.names)
        return Stream(chunks, read.site, read.layers, read.model.width(read.site), n_tags, budget_bytes, sentences)

    def columns(self, labels: Labels, columns: Int[ndarray, " columns"]) -> Features:
        """The activations of some neurons on the labelled words of every split."""
        layer, neuron = np.divmod(columns, self.read.model.width(self.read.site))
        features: Features = {}
        for split in SPLITS:
            words, place = labels.splits[split], self._places(labels.splits[split], split)
            activations = torch.empty(len(words.rows), len(columns), dtype=getattr(torch, self.read.dtype))
            for rows, values in self.read.stream(self.treebank.splits[split], split):
                labelled = torch.from_numpy(place[rows])
                parts = [array[:, neuron[layer == i]].cpu() for i, array in enumerate(values.values())]
                activations[labelled[labelled >= 0]] = torch.cat(parts, dim=1)[labelled >= 0]
            features[split] = activations
        return features

    def rows(self, labels: Labels, columns: Int[ndarray, " columns"]) -> Features:
        """The same activations, read at once."""
        return self.columns(labels, columns)

    def _places(self, words: LabelledWords, split: Split) -> Int[ndarray, " all_words"]:
        """Index of each word of a split among its labelled words, or -1."""
        places = np.full(self.treebank.n_words(split), -1)
        places[words.rows] = np.arange(len(words.rows))
        return places


def read_activations(read: ActivationReader, treebank: Treebank, *, store: bool) -> Activations:
    """Read the activations of a treebank.

    Args:
        read: Reader of activations.
        treebank: All sentences; unreadable words raise before the first forward pass.
        store: Whether the activations are stored in the cache.

    Returns:
        The activations; stored ones are in the cache when the function returns.
    """
    if store:
        return StoredActivations.of(read, treebank)
    for split in SPLITS:
        read.encode(treebank.splits[split])
    return StreamedActivations(read, treebank)
