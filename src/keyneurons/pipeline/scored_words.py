"""The words that neurons are scored on: all train words by their activations, or some by what neurons add to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.attribution.completeness import Completeness
from keyneurons.attribution.reader import AttributionReader
from keyneurons.attribution.targets import Targets
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.pipeline.activations import Activations, Scorable, StoredActivations
from keyneurons.records import LabelledWords, Labels, Scope, Treebank
from keyneurons.selection.stream import Chunk, Stream

ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class ScoredWords:
    """What scorers see.

    ``labels`` has the words of ``values`` as its train split, and ``sentences`` the sentence number of each;
    ``attributed`` says that the values are attributions; ``complete`` knows how far they are from complete, where
    they are integrals.
    """

    values: Scorable
    labels: Labels
    sentences: Int[ndarray, " words"]
    attributed: bool = False
    complete: Completeness | None = None

    @property
    def tags(self) -> Int[ndarray, " words"]:
        """The tag of each word."""
        return self.labels.splits["train"].tags

    @property
    def residuals(self) -> Mapping[str, float]:
        """How far attributions are from complete, by layer; of those that are not kept, once they are scored."""
        return {} if self.complete is None else self.complete.residuals()

    def metrics(self) -> dict[str, float]:
        """How many words were attributed, and how far attributions are from complete in the worst layer."""
        if not self.attributed:
            return {}
        found = {"attribution/words": float(len(self.sentences))}
        return found | ({"attribution/residual": max(self.residuals.values())} if self.residuals else {})


def activated_words(activations: Activations, labels: Labels, treebank: Treebank) -> ScoredWords:
    """All labelled train words, by the activations of the neurons."""
    return ScoredWords(activations, labels, sentence_of_rows(treebank.splits["train"], labels.splits["train"].rows))


def attributed_words(
    read: AttributionReader, labels: Labels, treebank: Treebank, *, store: bool, seed: int
) -> ScoredWords:
    """Some of the train words, by what every neuron adds to their prediction.

    Args:
        read: attributes words.
        labels: the labelled words.
        treebank: all sentences.
        store: whether attributions are kept in the cache; else the model is run whenever they are scored.
        seed: of the draw of words.

    Returns:
        The words and their attributions.

    Raises:
        ValueError: a tag has too few words that can be attributed.
    """
    sentences, words = treebank.splits["train"], labels.splits["train"]
    targets, position = read.sample(sentences, words, labels.names, seed)
    forms = tuple(words.forms[i] for i in position)
    drawn = LabelledWords(np.arange(len(position)), words.tags[position], forms)
    sampled = replace(labels, splits={**labels.splits, "train": drawn})
    complete = read.method.completeness()
    if not store:
        passing = StreamedAttributions(read, treebank, targets, words, complete)
        return ScoredWords(passing, sampled, targets.sentence, True, complete)
    arrays = read(sentences, targets, words)
    if complete is None:
        return ScoredWords(_stored(read, arrays), sampled, targets.sentence, True)
    for first in range(0, len(position), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        complete.add({layer: torch.tensor(array[rows]) for layer, array in arrays.items()})
    complete.warn()
    arrays = {layer: array[:, :-1] for layer, array in arrays.items()}
    return ScoredWords(_stored(read, arrays), sampled, targets.sentence, True, complete)


def _stored(read: AttributionReader, arrays: Mapping[int, Float[ndarray, "words neurons"]]) -> StoredActivations:
    return StoredActivations({"train": arrays}, read.read.site, str(read.read.model.device))


@dataclass(frozen=True)
class StreamedAttributions:
    """Attributions that are never kept: only scorers by moments can ask for scores, each by one pass of the model."""

    read: AttributionReader
    treebank: Treebank
    targets: Targets
    words: LabelledWords
    complete: Completeness | None

    def source(self, labels: Labels, scope: Scope, budget_bytes: int) -> Stream:
        """The drawn words as scorers need them."""
        read = self.read.read
        width, n_tags = read.model.width(read.site), len(labels.names)
        return Stream(self._chunks, read.site, read.layers, width, n_tags, budget_bytes)

    def _chunks(self) -> Iterator[Chunk]:
        for rows, values in self.read.stream(self.treebank.splits["train"], self.targets, self.words):
            if self.complete is not None:
                self.complete.add(values)
            width = self.read.read.model.width(self.read.read.site)
            yield rows, {layer: value[:, :width] for layer, value in values.items()}
        if self.complete is not None:
            self.complete.warn()
