"""Splits treebanks by sentence, drops duplicates across splits and limits their size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np

from keyneurons.data.spans import count_shared_spans
from keyneurons.records import SPLITS, Sentence, Split, Treebank

Sentences = tuple[Sentence, ...]


def make_treebank(treebank_id: str, splits: Mapping[Split, Sentences]) -> Treebank:
    """Create a treebank and count its shared spans."""
    return Treebank(treebank_id, splits, shared_spans=sum(map(count_shared_spans, splits.values())))


def with_splits(treebank: Treebank, splits: Mapping[Split, Sentences]) -> Treebank:
    """The treebank with other sentences, its shared spans counted again."""
    return replace(treebank, splits=splits, shared_spans=sum(map(count_shared_spans, splits.values())))


def split_sentences(sentences: Sequence[Sentence], fractions: Sequence[float], seed: int) -> dict[Split, Sentences]:
    """Split sentences at random into train, dev and test, each in the original order.

    Args:
        sentences: All sentences.
        fractions: The shares of train, dev and test; positive, with sum 1.
        seed: The same seed gives the same splits.

    Returns:
        The sentences of each split.

    Raises:
        ValueError: If the fractions are not three positive shares with sum 1, or a split is empty.
    """
    if len(fractions) != len(SPLITS) or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions must be three positive shares of {SPLITS} that sum to 1, got {tuple(fractions)}")
    n = len(sentences)
    bounds = [0, *(round(share * n) for share in accumulate(fractions[:-1])), n]
    order = np.random.default_rng(seed).permutation(n)
    parts: dict[Split, Sentences] = {}
    for split, (first, last) in zip(SPLITS, pairwise(bounds), strict=True):
        if first == last:
            raise ValueError(f"{n} sentences split by {tuple(fractions)} leave {split} empty: give more sentences")
        parts[split] = tuple(sentences[i] for i in sorted(order[first:last]))
    return parts


def drop_duplicates(treebank: Treebank) -> Treebank:
    """Drop dev sentences that occur in train, and test sentences that occur in train or dev.

    Args:
        treebank: A treebank; sentences with equal texts are duplicates. Repetitions within a split
            are kept.

    Returns:
        The treebank without duplicates; ``duplicates_dropped`` counts them by split.

    Raises:
        ValueError: If no sentence of a split remains.
    """
    seen: set[str] = set()
    splits: dict[Split, Sentences] = {}
    dropped = dict(treebank.duplicates_dropped)
    for split in SPLITS:
        before = treebank.splits[split]
        splits[split] = tuple(sentence for sentence in before if sentence.text not in seen)
        if before and not splits[split]:
            raise ValueError(f"{treebank.id}: every sentence of {split} also occurs in an earlier split")
        if split != "train":
            dropped[split] = dropped.get(split, 0) + len(before) - len(splits[split])
        seen.update(sentence.text for sentence in before)
    return replace(with_splits(treebank, splits), duplicates_dropped=dropped)


def cap(
    treebank: Treebank,
    max_sentences: Mapping[Split, int | None],
    max_words: Mapping[Split, int | None],
) -> Treebank:
    """Keep the first sentences of each split.

    Args:
        treebank: A treebank.
        max_sentences: Maximum number of sentences per split; None or absent keeps all.
        max_words: Maximum number of words per split, in whole sentences; None or absent keeps all.

    Returns:
        The smaller treebank.

    Raises:
        ValueError: If no sentence of a split remains.
    """
    splits: dict[Split, Sentences] = {}
    for split in SPLITS:
        kept = _first(treebank.splits[split], max_sentences.get(split), max_words.get(split))
        if not kept:
            raise ValueError(
                f"{treebank.id}: max_sentences={max_sentences.get(split)} and max_words={max_words.get(split)} "
                f"leave no sentence of {split}; its first sentence has {len(treebank.splits[split][0].words)} words"
            )
        splits[split] = kept
    return with_splits(treebank, splits)


def _first(sentences: Sentences, max_sentences: int | None, max_words: int | None) -> Sentences:
    if max_sentences is not None:
        sentences = sentences[: max(max_sentences, 0)]
    if max_words is None:
        return sentences
    totals = accumulate(len(sentence.words) for sentence in sentences)
    return sentences[: sum(total <= max_words for total in totals)]
