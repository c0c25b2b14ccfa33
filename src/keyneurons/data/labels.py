"""From a treebank and a column to tag names and labelled words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

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
        column: ``upos``, ``xpos``, or a feature such as ``Number``; words without it are not labelled.
        tags: The only tags wanted; None takes all that are frequent enough.
        min_words_per_tag: A tag with fewer words in train is left out, or an error where ``tags`` names it.
        first_words: Whether the first word of a sentence counts. Where words are read at their prediction it must not:
            all first words are predicted from the same token in front.

    Returns:
        The tag names in alphabetical order and the labelled words of each split.

    Raises:
        ValueError: If the column is empty, a wanted tag is unknown or too rare, fewer than two tags are left, or a tag
            has no word in dev or test.
    """
    read = _reader(column)
    tagged = {split: _tagged(treebank.splits[split], read, first_words) for split in SPLITS}
    counts = {split: Counter(tag for _, tag, _ in words) for split, words in tagged.items()}
    if not counts["train"]:
        raise ValueError(_empty_column(treebank, column))
    names, left_out = _choose(column, counts, tags, min_words_per_tag)
    _check(column, counts, names)
    index = {name: i for i, name in enumerate(names)}
    splits = {split: _labelled(tagged[split], index) for split in SPLITS}
    return Labels(column, names, splits, left_out)


def _reader(column: str) -> Callable[[Word], str | None]:
    if column == "upos":
        return lambda word: word.upos
    if column == "xpos":
        return lambda word: word.xpos
    return lambda word: word.feats.get(column)


def _tagged(
    sentences: Sequence[Sentence], tag_of: Callable[[Word], str | None], first_words: bool
) -> list[tuple[int, str, Word]]:
    """Row, tag and word of every word that has a tag."""
    words = [(i, word) for sentence in sentences for i, word in enumerate(sentence.words)]
    found = [(row, tag_of(word), word) for row, (i, word) in enumerate(words) if first_words or i > 0]
    return [(row, tag, word) for row, tag, word in found if tag is not None]


def _empty_column(treebank: Treebank, column: str) -> str:
    words = [word for sentence in treebank.splits["train"] for word in sentence.words]
    full = [name for name in ("upos", "xpos") if any(_reader(name)(word) for word in words)]
    features = sorted({name for word in words for name in word.feats})
    return (
        f"{treebank.id}: no word of train has a tag in column {column!r}; columns with tags: "
        f"{', '.join(full + features) or 'none'}"
    )


# The tags that stay, and those left out with their number of words in train.
def _choose(
    column: str, counts: Counts, tags: Sequence[str] | None, min_words: int
) -> tuple[tuple[str, ...], dict[str, int]]:
    known = sorted(set().union(*counts.values()))
    wanted = known if tags is None else sorted(set(tags))
    if unknown := [tag for tag in wanted if tag not in known]:
        raise ValueError(f"no tag {_named(unknown)} in column {column!r}; there are: {_named(known)}")
    rare = {tag: counts["train"][tag] for tag in wanted if counts["train"][tag] < min_words}
    if tags is not None and rare:
        raise ValueError(
            f"too few words in train for {_listed(rare)} of column {column!r}: min_words_per_tag={min_words}; "
            f"lower it, or take them out of tags"
        )
    return tuple(tag for tag in wanted if tag not in rare), rare


def _check(column: str, counts: Counts, names: Sequence[str]) -> None:
    if len(names) < 2:
        raise ValueError(
            f"at least two tags of column {column!r} are needed, got {', '.join(names) or 'none'}; "
            f"words in train: {_listed(counts['train'])}"
        )
    for split in SPLITS:
        if missing := [name for name in names if not counts[split][name]]:
            raise ValueError(
                f"no word of {split} has the tag {', '.join(missing)} of column {column!r}: "
                f"raise min_words_per_tag, name the other tags in tags, or take more sentences into {split}"
            )


def _named(tags: Sequence[str]) -> str:
    """Tags in a line; what is blank or cannot be seen is shown as Python writes it."""
    odd = [not tag.isprintable() or " " in tag or not tag for tag in tags]
    return ", ".join(repr(tag) if strange else tag for tag, strange in zip(tags, odd, strict=True))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{tag} ({counts[tag]})" for tag in sorted(counts))


def _labelled(tagged: Sequence[tuple[int, str, Word]], index: Mapping[str, int]) -> LabelledWords:
    kept = [(row, index[tag], word.form.lower()) for row, tag, word in tagged if tag in index]
    rows, tags, forms = zip(*kept, strict=True)
    return LabelledWords(np.array(rows, dtype=np.int64), np.array(tags, dtype=np.int64), forms)
