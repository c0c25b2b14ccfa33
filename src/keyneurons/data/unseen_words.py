"""Train and test with no word type in common: does a neuron know the tag, or the words that have it?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Set
from dataclasses import replace

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from keyneurons.records import SPLITS, LabelledWords, Labels, Split

Splits = Mapping[Split, LabelledWords]


def keep_types_apart(labels: Labels, share: float, min_words_per_tag: int, seed: int) -> Labels:
    """Deal the word types out to train and test, and leave out the words that stand on the other side.

    A type is a lower-cased form. It belongs to the tag it has most often in train and test together. Of the types of a
    tag the most frequent goes to train, and at most a ``share`` of all to test, at least one where there is one: drawn
    by the seed from those that have words in test. Train and dev keep the words whose type is not on the test side,
    test those whose type is. So a word may stand on a side for the sake of a tag that is not its own.

    Args:
        labels: The labelled words.
        share: The share of the types of each tag that goes to test.
        min_words_per_tag: A tag with fewer words left in train, or with none in dev or test, is left out.
        seed: The same seed gives the same sides.

    Returns:
        The labels that are left; ``left_out`` has the tags left out here as well, with their words left in train.

    Raises:
        ValueError: If the share is not between 0 and 1, ``min_words_per_tag`` is below 1, or fewer than two tags are
            left.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    if min_words_per_tag < 1:
        raise ValueError(f"min_words_per_tag must be at least 1, got {min_words_per_tag}")
    unseen = _test_types(labels.splits, share, seed)
    splits = {split: _kept(labels.splits[split], unseen, wanted=split == "test") for split in SPLITS}
    return _close_up(replace(labels, splits=splits), min_words_per_tag)


def _test_types(splits: Splits, share: float, seed: int) -> frozenset[str]:
    """The types on the test side."""
    counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for split in (splits["train"], splits["test"]):
        for form, tag in zip(split.forms, split.tags.tolist(), strict=True):
            counts[form][tag] += 1
    in_test = Counter(splits["test"].forms)
    types: defaultdict[int, list[str]] = defaultdict(list)
    for form in sorted(counts):
        types[min(counts[form], key=lambda tag: (-counts[form][tag], tag))].append(form)
    rng = np.random.default_rng(seed)
    chosen: list[str] = []
    for tag in sorted(types):
        # of equally frequent types the one that test needs least stays in train
        ordered = sorted(types[tag], key=lambda form: (-counts[form][tag], in_test[form]))
        others = [ordered[1 + i] for i in rng.permutation(len(ordered) - 1)]
        with_test_words = [form for form in others if form in in_test]  # any other would only cost train its words
        chosen += with_test_words[: max(1, round(share * len(ordered)))]
    return frozenset(chosen)


def _kept(words: LabelledWords, unseen: Set[str], *, wanted: bool) -> LabelledWords:
    """The words whose type is among the unseen ones, or is not."""
    return _where(words, np.array([(form in unseen) == wanted for form in words.forms], dtype=bool))


# Leaves out the tags that have too few words, and numbers the others anew.
def _close_up(labels: Labels, min_words: int) -> Labels:
    counts = {split: labels.counts(split) for split in SPLITS}
    stays = (counts["train"] >= min_words) & (counts["dev"] > 0) & (counts["test"] > 0)
    if stays.sum() < 2:
        left = ", ".join(
            f"{name} ({'/'.join(str(counts[split][tag]) for split in SPLITS)})" for tag, name in enumerate(labels.names)
        )
        raise ValueError(
            f"with no word type of column {labels.column!r} in both train and test, fewer than two tags have "
            f"{min_words} words in train and one in dev and test; words in {'/'.join(SPLITS)}: {left}"
        )
    number = np.cumsum(stays) - 1
    splits: dict[Split, LabelledWords] = {}
    for split, words in labels.splits.items():
        kept = _where(words, stays[words.tags])
        splits[split] = replace(kept, tags=number[kept.tags])
    left_out = {name: int(n) for name, n, kept in zip(labels.names, counts["train"], stays, strict=True) if not kept}
    names = tuple(name for name, kept in zip(labels.names, stays, strict=True) if kept)
    return replace(labels, names=names, splits=splits, left_out={**labels.left_out, **left_out})


def _where(words: LabelledWords, kept: Bool[ndarray, " words"]) -> LabelledWords:
    forms = tuple(form for form, keep in zip(words.forms, kept.tolist(), strict=True) if keep)
    return LabelledWords(words.rows[kept], words.tags[kept], forms)
