"""The words measured under lesions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.reader import ActivationReader
from keyneurons.lesion.rows import Words
from keyneurons.records import Labels, Split, Treebank


@dataclass(frozen=True)
class MeasuredWords:
    """The measured words with their positions and tags (-1 for no tag under study)."""

    words: Words
    tags: Int[ndarray, " words"]

    @property
    def studied(self) -> Bool[ndarray, " words"]:
        """Mask of the words with a tag under study."""
        return self.tags >= 0

    def of(self, chosen: Bool[ndarray, " words"]) -> Words:
        """Select words by a mask."""
        return Words(self.words.sentence[chosen], self.words.first[chosen], self.words.last[chosen])


def words_to_measure(
    read: ActivationReader,
    treebank: Treebank,
    labels: Labels,
    names: Sequence[str],
    split: Split,
    n_sentences: int,
    choose: Callable[[Mapping[str, int]], tuple[str, ...]],
) -> tuple[list[Encoded], MeasuredWords, tuple[str, ...]]:
    """Select the first sentences of a split and the words with predicted tokens of their own.

    Args:
        read: Encodes sentences for its model.
        treebank: All sentences.
        labels: The labelled words.
        names: The tags under study.
        split: Dev or test.
        n_sentences: Largest number of sentences.
        choose: Chooses the tags to study, given the number of words of each.

    Returns:
        The encoded sentences, the words, and the chosen tags that have such words.

    Raises:
        ValueError: Fewer than two tags have such words.
    """
    sentences = treebank.splits[split][:n_sentences]
    encoded = replace(read, read_at="word", pooling="mean").encode(sentences)
    n_words = sum(len(e.reads) for e in encoded)
    tag_of_row = np.full(n_words, -1)
    labelled = labels.splits[split]
    selected = labelled.rows < n_words
    tag_of_row[labelled.rows[selected]] = labelled.tags[selected]
    counts = np.bincount(tag_of_row[tag_of_row >= 0], minlength=len(labels.names))
    count_of = {name: int(counts[labels.names.index(name)]) for name in names}
    names = choose({name: count for name, count in count_of.items() if count})
    if len(names) < 2:
        raise ValueError(
            f"lesions need two tags with key neurons and words in {len(sentences)} sentences of {split}, got "
            f"{', '.join(names) or 'none'}; raise lesion.sentences"
        )
    number = np.full(len(labels.names) + 1, -1)
    number[[labels.names.index(name) for name in names]] = np.arange(len(names))
    spans: list[tuple[int, int, int, int]] = []
    row = 0
    for s, e in enumerate(encoded):
        for w, (first, last) in enumerate(e.reads):
            if first > 0 and not (w and e.reads[w - 1][1] >= first):
                spans.append((s, first, last, int(number[tag_of_row[row]])))
            row += 1
    table = np.array(spans, dtype=np.int64).reshape(-1, 4)
    return encoded, MeasuredWords(Words(table[:, 0], table[:, 1], table[:, 2]), table[:, 3]), names
