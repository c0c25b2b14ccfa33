"""Words to attribute: predicted from enough context, with a first token of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.activations.alignment import Encoded


@dataclass(frozen=True)
class Targets:
    """Words to predict: their rows in a split, the positions before them and their first tokens.

    ``sentence`` is the index of the sentence in the split, ``position`` the index of the token
    before the word in its sentence, including BOS, and ``token`` the id of the word's first token.
    """

    rows: Int[ndarray, " words"]
    sentence: Int[ndarray, " words"]
    position: Int[ndarray, " words"]
    token: Int[ndarray, " words"]

    def of(self, chosen: Int[ndarray, " some"]) -> Targets:
        """The subset of the targets at these indices."""
        return Targets(self.rows[chosen], self.sentence[chosen], self.position[chosen], self.token[chosen])


def predictable(encoded: Sequence[Encoded], rows: Int[ndarray, " words"], min_context: int) -> Targets:
    """The words with at least ``min_context`` preceding words and an unshared first token.

    Args:
        encoded: all sentences of a split, each word with its first and last token.
        rows: rows of the candidate words, ascending.
        min_context: minimum number of words before a word in its sentence, at least 1.

    Returns:
        The words that qualify, in the same order.

    Raises:
        ValueError: If ``min_context`` is below 1.
    """
    if min_context < 1:
        raise ValueError(f"min_context must be at least 1, got {min_context}")
    starts = np.cumsum([0, *(len(e.reads) for e in encoded)])
    sentence = np.searchsorted(starts, rows, side="right") - 1
    place = rows - starts[sentence]
    indices, first = [], []
    for i, (s, w) in enumerate(zip(sentence.tolist(), place.tolist(), strict=True)):
        reads = encoded[s].reads
        start = reads[w][0]
        shared = w and reads[w - 1][1] >= start or w + 1 < len(reads) and reads[w + 1][0] <= start
        if w >= min_context and not shared:
            indices.append(i)
            first.append(start)
    chosen, position = np.array(indices, dtype=np.int64), np.array(first, dtype=np.int64) - 1
    sentence = sentence[chosen]
    token = np.array([encoded[s].ids[p + 1] for s, p in zip(sentence, position, strict=True)], dtype=np.int64)
    return Targets(rows[chosen], sentence, position, token)


def balanced(tags: Int[ndarray, " words"], names: Sequence[str], at_most: int, seed: int) -> Int[ndarray, " sampled"]:
    """Draw the same number of words of every tag: that of the rarest tag, at most ``at_most``.

    Returns:
        Positions among the words, ascending, drawn at random without replacement. Other tags affect
        the draw of a tag only through their number of words.

    Raises:
        ValueError: If a tag has fewer than 2 words; the message names it.
    """
    counts = np.bincount(tags, minlength=len(names))
    if (least := int(counts.min())) < 2:
        raise ValueError(
            f"tag {names[int(counts.argmin())]} needs at least 2 attributable words, got {least}: exclude it "
            "(dataset.tags), or lower selection.min_context or min_probability"
        )
    draws = [
        np.random.default_rng([seed, tag]).permutation(np.flatnonzero(tags == tag))[: min(at_most, least)]
        for tag in range(len(names))
    ]
    return np.sort(np.concatenate(draws))
