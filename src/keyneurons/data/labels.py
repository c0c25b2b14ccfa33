"""Labels the words of a treebank by a tag column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from keyneurons.data.columns import Column, column_of, columns_in
from keyneurons.records import SPLITS, LabelledWords, Labels, Sentence, Split, Treebank, Word

Counts = Mapping[Split, Counter[str]]


def label(
    treebank: Treebank,
    column: str,
    tags: Sequence[str] | None = None,
    min_words_per_tag: int = 20,
    *,
    first_words: bool = True,
) -> Labels:
    """Label the words of a treebank by one tag column.

    Args:
        treebank: The tagged sentences.
        column: A column as in ``keyneurons.data.columns.column_of``; words without a value are not
            labelled.
        tags: The tags to use; None uses every tag that is frequent enough.
        min_words_per_tag: The least number of train words of a tag. A rarer tag is excluded; if it
            is listed in ``tags``, the function raises.
        first_words: Whether to label the first word of each sentence. Use False when activations
            are read at the prediction: all first words are predicted from the same token.

    Returns:
        The tag names in alphabetical order and the labelled words of each split.

    Raises:
        ValueError: If the column is empty, a requested tag is unknown or too rare, fewer than two
            tags remain, or a tag has no word in dev or test.
    """
    tags_of = column_of(column)
    tagged = {split: _tagged(treebank.splits[split], tags_of, first_words) for split in SPLITS}
    counts = {split: Counter(tag for _, tag, _ in words) for split, words in tagged.items()}
    if not counts["train"]:
        raise ValueError(_empty_column(treebank, column))
    names, excluded = _choose(column, counts, tags, min_words_per_tag)
    _check(column, counts, names)
    index = {name: i for i, name in enumerate(names)}
    splits = {split: _labelled(tagged[split], index) for split in SPLITS}
    return Labels(column, names, splits, excluded)


def balanced(labels: Labels, words: int, seed: int) -> Labels:
    """Keep at most ``words`` train words of each tag, drawn at random; dev and test stay whole."""
    train = labels.splits["train"]
    rng = np.random.default_rng(seed)
    kept = np.zeros(len(train.rows), dtype=bool)
    for tag in range(len(labels.names)):
        own = np.flatnonzero(train.tags == tag)
        kept[rng.choice(own, min(words, len(own)), replace=False)] = True
    return replace(labels, splits={**labels.splits, "train": train.of(kept)})


def of_tags(labels: Labels, names: Sequence[str]) -> Labels:
    """The words of some of the tags, which must be in alphabetical order."""
    number = np.full(len(labels.names), -1)
    number[[labels.names.index(name) for name in names]] = np.arange(len(names))
    kept = {split: words.of(number[words.tags] >= 0) for split, words in labels.splits.items()}
    splits = {split: replace(words, tags=number[words.tags]) for split, words in kept.items()}
    return Labels(labels.column, tuple(names), splits, labels.left_out)


def _tagged(sentences: Sequence[Sentence], tags_of: Column, first_words: bool) -> list[tuple[int, str, Word]]:
    """List the row, tag and word of every tagged word."""
    tagged = [
        (i, tag, word)
        for sentence in sentences
        for i, (tag, word) in enumerate(zip(tags_of(sentence), sentence.words, strict=True))
    ]
    return [(row, tag, word) for row, (i, tag, word) in enumerate(tagged) if tag is not None and (first_words or i > 0)]


def _empty_column(treebank: Treebank, column: str) -> str:
    names = columns_in(treebank.splits["train"])
    return (
        f"{treebank.id}: no word in train has a tag in column {column!r}; columns with tags: "
        f"{', '.join(names) or 'none'}"
    )


# Returns the tags to use, and the excluded tags with their number of train words.
def _choose(
    column: str, counts: Counts, tags: Sequence[str] | None, min_words: int
) -> tuple[tuple[str, ...], dict[str, int]]:
    existing = sorted(set().union(*counts.values()))
    requested = existing if tags is None else sorted(set(tags))
    if unknown := [tag for tag in requested if tag not in existing]:
        raise ValueError(
            f"no tag {_tag_list(unknown)} in column {column!r}; the tags of this column are {_tag_list(existing)}"
        )
    rare = {tag: counts["train"][tag] for tag in requested if counts["train"][tag] < min_words}
    if tags is not None and rare:
        raise ValueError(
            f"too few training words for {_count_list(rare)} of column {column!r}: min_words_per_tag={min_words}; "
            f"lower it, or remove them from tags"
        )
    return tuple(tag for tag in requested if tag not in rare), rare


def _check(column: str, counts: Counts, names: Sequence[str]) -> None:
    if len(names) < 2:
        raise ValueError(
            f"at least two tags of column {column!r} are needed, got {', '.join(names) or 'none'}; "
            f"words in train: {_count_list(counts['train'])}"
        )
    for split in SPLITS:
        if missing := [name for name in names if not counts[split][name]]:
            raise ValueError(
                f"no word in {split} has the tag {', '.join(missing)} of column {column!r}: "
                f"raise min_words_per_tag, add sentences to {split}, or list only the other tags: "
                f"tags=[{','.join(name for name in names if counts[split][name])}]"
            )


def _tag_list(tags: Sequence[str]) -> str:
    """Join tags with commas; a tag that is empty, has spaces or is not printable is quoted."""
    return ", ".join(tag if tag and tag.isprintable() and " " not in tag else repr(tag) for tag in tags)


def _count_list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{tag} ({counts[tag]})" for tag in sorted(counts))


def _labelled(tagged: Sequence[tuple[int, str, Word]], index: Mapping[str, int]) -> LabelledWords:
    kept = [(row, index[tag], word.form) for row, tag, word in tagged if tag in index]
    rows, tags, forms = zip(*kept, strict=True)
    return LabelledWords(np.array(rows, dtype=np.int64), np.array(tags, dtype=np.int64), forms)
