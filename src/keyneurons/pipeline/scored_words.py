"""The words that neurons are scored on: all by activations, or a sample by attributions."""

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
    """The input of a scorer.

    The train split of ``labels`` has the words of ``values``, and ``sentences`` has the index of
    each word's sentence. ``position`` are the positions of these words among the labelled train
    words of the run if they are a sample: values of a sample are attributions. ``complete``
    measures the completeness error of integrals.
    """

    values: Scorable
    labels: Labels
    sentences: Int[ndarray, " words"]
    position: Int[ndarray, " words"] | None = None
    complete: Completeness | None = None

    @property
    def attributed(self) -> bool:
        """Whether the values are attributions."""
        return self.position is not None

    @property
    def tags(self) -> Int[ndarray, " words"]:
        """The tag of each word."""
        return self.labels.splits["train"].tags

    @property
    def residuals(self) -> Mapping[str, float]:
        """Completeness error by layer; streamed attributions have one once they are scored."""
        return {} if self.complete is None else self.complete.residuals()

    def metrics(self) -> dict[str, float]:
        """The number of attributed words, and the largest completeness error of any layer."""
        if not self.attributed:
            return {}
        values = {"attribution/words": float(len(self.sentences))}
        return values | ({"attribution/residual": max(self.residuals.values())} if self.residuals else {})


def activated_words(activations: Activations, labels: Labels, treebank: Treebank) -> ScoredWords:
    """All labelled train words with their activations."""
    return ScoredWords(activations, labels, sentence_of_rows(treebank.splits["train"], labels.splits["train"].rows))


def attributed_words(
    read: AttributionReader, labels: Labels, treebank: Treebank, *, store: bool, seed: int
) -> ScoredWords:
    """A sample of the train words with the attribution of their prediction to every neuron.

    Args:
        read: Reader of attributions.
        labels: The labelled words.
        treebank: All sentences.
        store: Whether attributions are stored in the cache; otherwise scoring runs the model each
            time.
        seed: Seed of the sample.

    Returns:
        The words and their attributions.

    Raises:
        ValueError: A tag has too few words whose prediction can be attributed.
    """
    sentences, words = treebank.splits["train"], labels.splits["train"]
    targets, position = read.sample(sentences, words, labels.names, seed)
    forms = tuple(words.forms[i] for i in position)
    drawn = LabelledWords(np.arange(len(position)), words.tags[position], forms)
    sampled = replace(labels, splits={**labels.splits, "train": drawn})
    complete = read.method.completeness()
    if not store:
        streamed = StreamedAttributions(read, treebank, targets, words, complete)
        return ScoredWords(streamed, sampled, targets.sentence, position, complete)
    arrays = read(sentences, targets, words)
    if complete is None:
        return ScoredWords(_stored(read, arrays), sampled, targets.sentence, position)
    for first in range(0, len(position), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        complete.add({layer: torch.tensor(array[rows]) for layer, array in arrays.items()})
    complete.warn()
    arrays = {layer: array[:, :-1] for layer, array in arrays.items()}
    return ScoredWords(_stored(read, arrays), sampled, targets.sentence, position, complete)


def _stored(read: AttributionReader, arrays: Mapping[int, Float[ndarray, "words neurons"]]) -> StoredActivations:
    return StoredActivations({"train": arrays}, read.read.site, str(read.read.model.device))


@dataclass(frozen=True)
class StreamedAttributions:
    """Attributions that are not stored: every use is one pass of the model.

    Only scorers that work from moments can score them.
    """

    read: AttributionReader
    treebank: Treebank
    targets: Targets
    words: LabelledWords
    complete: Completeness | None

    def source(
        self, labels: Labels, scope: Scope, budget_bytes: int, sentences: Int[ndarray, " words"] | None = None
    ) -> Stream:
        """The attributions of the sampled words as input of a scorer."""
        read = self.read.read
        width, n_tags = read.model.width(read.site), len(labels.names)
        return Stream(self._chunks, read.site, read.layers, width, n_tags, budget_bytes, sentences)

    def _chunks(self) -> Iterator[Chunk]:
        for rows, values in self.read.stream(self.treebank.splits["train"], self.targets, self.words):
            if self.complete is not None:
                self.complete.add(values)
            width = self.read.read.model.width(self.read.read.site)
            yield rows, {layer: value[:, :width] for layer, value in values.items()}
        if self.complete is not None:
            self.complete.warn()
