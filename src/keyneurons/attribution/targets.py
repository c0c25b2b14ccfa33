"""Which words are attributed: predicted from enough context, each by its first token, equally many of every tag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from keyneurons.activations.alignment import Encoded


@dataclass(frozen=True)
class Targets:
    """Words to predict: their rows among all words of a split, and where and as what token they are predicted.

    ``sentence`` counts the sentences of the split, ``position`` the tokens of a sentence, BOS included: that before
    the word. ``token`` is the id of the word's first token.
    """

    rows: Int[ndarray, " words"]
    sentence: Int[ndarray, " words"]
    position: Int[ndarray, " words"]
    token: Int[ndarray, " words"]

    def of(self, chosen: Int[ndarray, " some"]) -> Targets:
        """Some of them."""
        return Targets(self.rows[chosen], self.sentence[chosen], self.position[chosen], self.token[chosen])


def predictable(encoded: Sequence[Encoded], rows: Int[ndarray, " words"], min_context: int) -> Targets:
    """The words among ``rows`` that stand behind ``min_context`` other words and whose first token is theirs alone.

    Args:
        encoded: all sentences of a split, each word with its first and last token.
        rows: rows of the wanted words, ascending.
        min_context: words before a word in its sentence, at least 1.

    Returns:
        Those words, in the same order.

    Raises:
        ValueError: If ``min_context`` is below 1.
    """
    if min_context < 1:
        raise ValueError(f"min_context must be at least 1, got {min_context}")
    starts = np.cumsum([0, *(len(e.reads) for e in encoded)])
    sentence = np.searchsorted(starts, rows, side="right") - 1
    place = rows - starts[sentence]
    kept, first = [], []
    for i, (s, w) in enumerate(zip(sentence.tolist(), place.tolist(), strict=True)):
        reads = encoded[s].reads
        start = reads[w][0]
        shared = w and reads[w - 1][1] >= start or w + 1 < len(reads) and reads[w + 1][0] <= start
        if w >= min_context and not shared:
            kept.append(i)
            first.append(start)
    chosen, position = np.array(kept, dtype=np.int64), np.array(first, dtype=np.int64) - 1
    sentence = sentence[chosen]
    token = np.array([encoded[s].ids[p + 1] for s, p in zip(sentence, position, strict=True)], dtype=np.int64)
    return Targets(rows[chosen], sentence, position, token)


def balanced(tags: Int[ndarray, " words"], names: Sequence[str], at_most: int, seed: int) -> Int[ndarray, " sampled"]:
    """Draw equally many words of every tag, at random without replacement: as many as the rarest has, or ``at_most``.

    Returns:
        Positions among the words, ascending. Which words of a tag are drawn depends on others by their number alone.

    Raises:
        ValueError: If a tag has fewer than 2 words; it is named.
    """
    counts = np.bincount(tags, minlength=len(names))
    if (least := int(counts.min())) < 2:
        raise ValueError(
            f"tag {names[int(counts.argmin())]} has {least} words that can be attributed, and needs 2: leave it out "
            "(dataset.tags), or lower selection.min_context or min_probability"
        )
    draws = [
        np.random.default_rng([seed, tag]).permutation(np.flatnonzero(tags == tag))[: min(at_most, least)]
        for tag in range(len(names))
    ]
    return np.sort(np.concatenate(draws))
