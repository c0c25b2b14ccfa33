"""Splits without common word types between train and test.

They show whether a neuron encodes the tag or individual words that have the tag.
"""

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
    """Assign each word type to train or test, and drop the words in the other split.

    A type is a lower-cased form. It belongs to the tag that it has most often in train and test
    together. The most frequent type of each tag is always assigned to train. Of the types of a tag,
    at most ``share`` are assigned to test (at least one if possible), drawn with the seed from the
    types with words in test. Train and dev keep the words of train types, test keeps the words of
    test types. A word is therefore assigned by the tag of its type, even if its own tag differs.

    Args:
        labels: The labelled words.
        share: The share of the types of each tag that is assigned to test.
        min_words_per_tag: A tag with fewer remaining words in train, or none in dev or test, is
            excluded.
        seed: Seed of the draw.

    Returns:
        The remaining labels; ``left_out`` includes the tags excluded here, with their number of
        remaining train words.

    Raises:
        ValueError: If the share is not between 0 and 1, ``min_words_per_tag`` is below 1, or fewer
            than two tags remain.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1, got {share}")
    if min_words_per_tag < 1:
        raise ValueError(f"min_words_per_tag must be at least 1, got {min_words_per_tag}")
    test_types = _test_types(labels.splits, share, seed)
    splits = {split: _select_types(labels.splits[split], test_types, inside=split == "test") for split in SPLITS}
    return _drop_rare_tags(replace(labels, splits=splits), min_words_per_tag)


def _test_types(splits: Splits, share: float, seed: int) -> frozenset[str]:
    """Draw the types that are assigned to test."""
    counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for split in (splits["train"], splits["test"]):
        for form, tag in zip(split.types, split.tags.tolist(), strict=True):
            counts[form][tag] += 1
    in_test = Counter(splits["test"].types)
    types: defaultdict[int, list[str]] = defaultdict(list)
    for form in sorted(counts):
        types[min(counts[form], key=lambda tag: (-counts[form][tag], tag))].append(form)
    rng = np.random.default_rng(seed)
    chosen: list[str] = []
    for tag in sorted(types):
        # among equally frequent types, the one with the fewest words in test stays in train
        ordered = sorted(types[tag], key=lambda form: (-counts[form][tag], in_test[form]))
        others = [ordered[1 + i] for i in rng.permutation(len(ordered) - 1)]
        with_test_words = [form for form in others if form in in_test]  # others would only remove train words
        chosen += with_test_words[: max(1, round(share * len(ordered)))]
    return frozenset(chosen)


def _select_types(words: LabelledWords, types: Set[str], *, inside: bool) -> LabelledWords:
    """Keep the words whose type is among ``types``, or the others if not ``inside``."""
    return _where(words, np.array([(form in types) == inside for form in words.types], dtype=bool))


# Excludes tags with too few words and renumbers the others.
def _drop_rare_tags(labels: Labels, min_words: int) -> Labels:
    counts = {split: labels.counts(split) for split in SPLITS}
    sufficient = (counts["train"] >= min_words) & (counts["dev"] > 0) & (counts["test"] > 0)
    if sufficient.sum() < 2:
        remaining = ", ".join(
            f"{name} ({'/'.join(str(counts[split][tag]) for split in SPLITS)})" for tag, name in enumerate(labels.names)
        )
        raise ValueError(
            f"after splitting by word type, fewer than two tags of column {labels.column!r} have words in dev and "
            f"test and min_words_per_tag={min_words} in train; words in {'/'.join(SPLITS)}: {remaining}"
        )
    number = np.cumsum(sufficient) - 1
    splits: dict[Split, LabelledWords] = {}
    for split, words in labels.splits.items():
        kept = _where(words, sufficient[words.tags])
        splits[split] = replace(kept, tags=number[kept.tags])
    excluded = {
        name: int(n) for name, n, kept in zip(labels.names, counts["train"], sufficient, strict=True) if not kept
    }
    names = tuple(name for name, kept in zip(labels.names, sufficient, strict=True) if kept)
    return replace(labels, names=names, splits=splits, left_out={**labels.left_out, **excluded})


def _where(words: LabelledWords, kept: Bool[ndarray, " words"]) -> LabelledWords:
    forms = tuple(form for form, keep in zip(words.forms, kept.tolist(), strict=True) if keep)
    return LabelledWords(words.rows[kept], words.tags[kept], forms)
