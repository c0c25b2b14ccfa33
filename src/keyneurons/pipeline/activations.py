"""The activations of a treebank: kept in the cache, or read anew from the model each time they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.reader import ActivationReader
from keyneurons.records import SPLITS, LabelledWords, Labels, Scope, Site, Split, Treebank
from keyneurons.selection.interface import Source
from keyneurons.selection.scoring import Driver
from keyneurons.selection.stream import Chunk, Stream

Features = dict[Split, Float[Tensor, "_words columns"]]


@runtime_checkable
class Scorable(Protocol):
    """Something that neurons can be scored by."""

    def source(self, labels: Labels, scope: Scope, budget_bytes: int) -> Source:
        """The train words as scorers need them, within some memory."""
        ...


@runtime_checkable
class Activations(Scorable, Protocol):
    """What a run needs of the activations of its treebank."""

    def columns(self, labels: Labels, columns: Int[ndarray, " columns"]) -> Features:
        """Some neurons (ascending, the layers side by side) on the labelled words of every split."""
        ...

    def stored(self) -> StoredActivations:
        """The arrays in the cache.

        Raises:
            ValueError: nothing is kept.
        """
        ...


@dataclass(frozen=True)
class StoredActivations:
    """Memory maps by split and layer; scores are computed on ``device``."""

    arrays: Mapping[Split, Mapping[int, Float[ndarray, "_words neurons"]]]
    site: Site
    device: str = "cpu"

    @classmethod
    def of(cls, read: ActivationReader, treebank: Treebank) -> StoredActivations:
        """Bring the activations of all splits into the cache; what cannot be read is refused before the first pass."""
        for split in SPLITS:
            if read.missing(treebank.splits[split]):
                read.encode(treebank.splits[split])
        arrays = {split: read(treebank.splits[split], split) for split in SPLITS}
        return cls(arrays, read.site, str(read.model.device))

    def stored(self) -> StoredActivations:
        """These."""
        return self

    def source(self, labels: Labels, scope: Scope, budget_bytes: int) -> Driver:
        """The train words as scorers need them."""
        rows = labels.splits["train"].rows
        return Driver(self.arrays["train"], rows, len(labels.names), self.site, scope, self.device, budget_bytes)

    def columns(self, labels: Labels, columns: Int[ndarray, " columns"]) -> Features:
        """Some neurons (ascending, the layers side by side) on the labelled words of every split."""
        features: Features = {}
        for split in SPLITS:
            rows, of_layers = labels.splits[split].rows, list(self.arrays[split].values())
            layer, neuron = np.divmod(columns, of_layers[0].shape[1])
            parts = [array[rows][:, neuron[layer == i]] for i, array in enumerate(of_layers)]
            features[split] = torch.from_numpy(np.concatenate(parts, axis=1))
        return features


@dataclass(frozen=True)
class StreamedActivations:
    """Nothing is kept: every question is a pass over the text, and only scorers by moments can ask for scores."""

    read: ActivationReader
    treebank: Treebank

    def stored(self) -> StoredActivations:
        """None.

        Raises:
            ValueError: always.
        """
        raise ValueError("this needs stored activations: activations.store=true")

    def source(self, labels: Labels, scope: Scope, budget_bytes: int) -> Stream:
        """The train words as scorers need them."""
        place = self._places(labels.splits["train"], "train")

        def chunks() -> Iterator[Chunk]:
            for rows, values in self.read.stream(self.treebank.splits["train"], "train"):
                labelled = place[rows]
                wanted = torch.from_numpy(labelled >= 0).to(self.read.model.device)
                yield labelled[labelled >= 0], {layer: of_layer[wanted] for layer, of_layer in values.items()}

        read = self.read
        return Stream(chunks, read.site, read.layers, read.model.width(read.site), len(labels.names), budget_bytes)

    def columns(self, labels: Labels, columns: Int[ndarray, " columns"]) -> Features:
        """Some neurons (ascending, the layers side by side) on the labelled words of every split."""
        layer, neuron = np.divmod(columns, self.read.model.width(self.read.site))
        features: Features = {}
        for split in SPLITS:
            words, place = labels.splits[split], self._places(labels.splits[split], split)
            found = torch.empty(len(words.rows), len(columns), dtype=getattr(torch, self.read.dtype))
            for rows, values in self.read.stream(self.treebank.splits[split], split):
                labelled = torch.from_numpy(place[rows])
                parts = [of_layer[:, neuron[layer == i]].cpu() for i, of_layer in enumerate(values.values())]
                found[labelled[labelled >= 0]] = torch.cat(parts, dim=1)[labelled >= 0]
            features[split] = found
        return features

    def _places(self, words: LabelledWords, split: Split) -> Int[ndarray, " all_words"]:
        """Where each word of a split stands among the labelled ones, or -1."""
        places = np.full(self.treebank.n_words(split), -1)
        places[words.rows] = np.arange(len(words.rows))
        return places


def read_activations(read: ActivationReader, treebank: Treebank, *, store: bool) -> Activations:
    """The activations of a treebank: in the cache when this returns, if they are stored.

    Args:
        read: reads them.
        treebank: all sentences; what cannot be read is refused before the first pass.
        store: whether they are kept.

    Returns:
        The activations.
    """
    if store:
        return StoredActivations.of(read, treebank)
    for split in SPLITS:
        read.encode(treebank.splits[split])
    return StreamedActivations(read, treebank)
