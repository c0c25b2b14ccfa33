"""The words that neurons are scored on: all by activations, or a sample by attributions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons import metrics
from keyneurons.attribution.completeness import Completeness
from keyneurons.attribution.reader import AttributionReader
from keyneurons.attribution.targets import Targets
from keyneurons.data.word_features import sentence_of_rows
from keyneurons.pipeline.activations import Activations, Scorable, StoredActivations
from keyneurons.pipeline.word_sample import proportional_sample
from keyneurons.records import LabelledWords, Labels, Scope, Treebank
from keyneurons.selection.stream import Chunk, Stream

ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class ScoredWords:
    """The input of a scorer.

    The train split of ``labels`` has the words of ``values``, and ``sentences`` has the index of
    each word's sentence. ``position`` are the positions of these words among the labelled train
    words of the run if they are a sample. ``attributed`` says whether values are attributions;
    ``complete`` measures the completeness error of integrals.
    """

    values: Scorable
    labels: Labels
    sentences: Int[ndarray, " words"]
    position: Int[ndarray, " words"] | None = None
    complete: Completeness | None = None
    attributed: bool = False

    @property
    def tags(self) -> Int[ndarray, " words"]:
        """The tag of each word."""
        return self.labels.splits["train"].tags

    @property
    def residuals(self) -> Mapping[str, float]:
        """Completeness error by layer; streamed attributions have one once they are scored."""
        return {} if self.complete is None else self.complete.residuals()

    def metrics(self) -> dict[str, float]:
        """The number of sampled or attributed words, and the largest completeness error."""
        if not self.attributed:
            return {} if self.position is None else {metrics.SAMPLED_WORDS: float(len(self.sentences))}
        values = {"attribution/words": float(len(self.sentences))}
        return values | ({"attribution/residual": max(self.residuals.values())} if self.residuals else {})


def activated_words(
    activations: Activations, labels: Labels, treebank: Treebank, sample: int | None = None, seed: int = 0
) -> ScoredWords:
    """The labelled train words with their activations.

    Args:
        activations: The activations of the treebank.
        labels: The labelled words.
        treebank: All sentences.
        sample: Number of words to draw, see ``proportional_sample``; None takes all.
        seed: Seed of the draw.

    Returns:
        The words.
    """
    words = labels.splits["train"]
    sentences = sentence_of_rows(treebank.splits["train"], words.rows)
    if sample is None:
        return ScoredWords(activations, labels, sentences)
    position = proportional_sample(words.tags, sample, seed)
    chosen = np.zeros(len(words.rows), dtype=bool)
    chosen[position] = True
    drawn, values = words.of(chosen), activations.of_train(words.rows[position])
    if values is not activations:  # arrays of the sampled words alone
        drawn = replace(drawn, rows=np.arange(len(position)))
    return ScoredWords(values, replace(labels, splits={**labels.splits, "train": drawn}), sentences[position], position)


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
        return ScoredWords(streamed, sampled, targets.sentence, position, complete, attributed=True)
    arrays = read(sentences, targets, words)
    if complete is None:
        return ScoredWords(_stored(read, arrays), sampled, targets.sentence, position, attributed=True)
    for first in range(0, len(position), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        complete.add({layer: torch.tensor(array[rows]) for layer, array in arrays.items()})
    complete.warn()
    arrays = {layer: array[:, :-1] for layer, array in arrays.items()}
    return ScoredWords(_stored(read, arrays), sampled, targets.sentence, position, complete, attributed=True)


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
