"""The activations of a treebank: kept in the cache, or read anew from the model each time they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.reader import ActivationReader
from keyneurons.pipeline.score_cache import known_scores
from keyneurons.records import SPLITS, LabelledWords, Labels, Scope, Scores, Site, Split, Treebank
from keyneurons.selection.moments import Moments, MomentScorer, MomentSums
from keyneurons.selection.scorer import NeuronScorer, tag_counts
from keyneurons.selection.scoring import Driver, moment_scores
from keyneurons.selection.top_share import TopShare

Features = dict[Split, Float[Tensor, "_words columns"]]


@runtime_checkable
class Scorable(Protocol):
    """Something that neurons can be scored by."""

    def scores(self, scorer: NeuronScorer, labels: Labels, scope: Scope, budget_bytes: int) -> Scores:
        """Score every neuron on the train words."""
        ...


@runtime_checkable
class Activations(Scorable, Protocol):
    """What a run needs of the activations of its treebank."""

    def columns(self, labels: Labels, columns: Int[ndarray, " columns"]) -> Features:
        """Some neurons (ascending, the layers side by side) on the labelled words of every split."""
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

    def driver(self, labels: Labels, scope: Scope, budget_bytes: int) -> Driver:
        """What brings scorers to the train words."""
        rows = labels.splits["train"].rows
        return Driver(self.arrays["train"], rows, len(labels.names), self.site, scope, self.device, budget_bytes)

    def scores(self, scorer: NeuronScorer, labels: Labels, scope: Scope, budget_bytes: int) -> Scores:
        """Score every neuron on the train words."""
        return known_scores(self.driver(labels, scope, budget_bytes), scorer, labels.splits["train"].tags)

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

    def scores(self, scorer: NeuronScorer, labels: Labels, scope: Scope, budget_bytes: int) -> Scores:
        """Score every neuron on the train words.

        Returns:
            The same scores as from stored activations, but for the order of summing.

        Raises:
            TypeError: If the scorer needs more than moments.
        """
        words = labels.splits["train"]
        place = self._places(words, "train")

        def chunks() -> Iterator[tuple[Int[ndarray, " some"], Mapping[int, Float[Tensor, "some neurons"]]]]:
            for rows, values in self.read.stream(self.treebank.splits["train"], "train"):
                labelled = place[rows]
                wanted = torch.from_numpy(labelled >= 0).to(self.read.model.device)
                yield labelled[labelled >= 0], {layer: of_layer[wanted] for layer, of_layer in values.items()}

        return scores_of_stream(scorer, chunks(), words.tags, len(labels.names), self.read)

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


def scores_of_stream(
    scorer: NeuronScorer,
    chunks: Iterable[tuple[Int[ndarray, " some"], Mapping[int, Float[Tensor, "some neurons"]]]],
    tags: Int[ndarray, " words"],
    n_tags: int,
    read: ActivationReader,
) -> Scores:
    """Score neurons on words that come by and are not kept.

    Args:
        scorer: one by moments.
        chunks: positions of some words among those of ``tags``, and by layer the values of its neurons.
        tags: those of all words.
        n_tags: number of tags.
        read: reads the site and the layers of the values.

    Returns:
        The scores.

    Raises:
        TypeError: If the scorer needs more than moments.
    """
    if not isinstance(scorer, MomentScorer):
        raise TypeError(f"{scorer} needs stored activations")
    at = torch.from_numpy(tags).long()
    tag_counts(at, len(at), n_tags)
    view = scorer.view
    across = isinstance(view, TopShare) and view.of_all_layers
    sums = [MomentSums(view, n_tags) for _ in (read.layers if not across else [None])]
    for positions, values in chunks:
        pieces = [torch.cat(list(values.values()), dim=1)] if across else list(values.values())
        for each, piece in zip(sums, pieces, strict=True):
            each.add(piece, at[None, torch.from_numpy(positions)].to(piece.device))
    device = pieces[0].device
    moments = [each.result(at[None].to(device))[0] for each in sums]
    return moment_scores(scorer, Moments.beside(moments), read.site, read.layers)
