"""Taggers of generated texts: by the words of train, and by Stanza."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keyneurons.data.columns import column_of, uses_syntax
from keyneurons.data.stanza_tagging import sentences_of
from keyneurons.data.word_splitting import word_spans
from keyneurons.records import LabelledWords

Tagger = Callable[[str, str], Sequence[str | None]]
"""The tag of every word of a continuation, given its prompt; None for unknown words."""


def words_of(text: str) -> list[str]:
    """The words and punctuation marks of a text, in lower case."""
    lower = text.lower()
    return [lower[start:end] for start, end in word_spans(lower)]


def lexicon_of(words: LabelledWords, names: Sequence[str]) -> dict[str, str]:
    """The most frequent tag of every form; ties go to the first of ``names``."""
    counts: dict[str, np.ndarray] = {}
    for form, tag in zip(words.types, words.tags.tolist(), strict=True):
        counts.setdefault(form, np.zeros(len(names), dtype=np.int64))[tag] += 1
    return {form: names[int(count.argmax())] for form, count in counts.items()}


def by_lexicon(lexicon: Mapping[str, str]) -> Tagger:
    """Tags each word by itself; words that the lexicon lacks are unknown."""
    return lambda _, text: [lexicon.get(word) for word in words_of(text)]


def by_stanza(pipeline: Callable[[str], Any], column: str) -> Tagger:
    """Tags the words of a continuation in their context, prompt included.

    Args:
        pipeline: a Stanza pipeline for words and tags.
        column: a tag column that needs no syntax.

    Returns:
        The tagger; a text that it has tagged before is not tagged again.

    Raises:
        ValueError: the column needs heads or relations.
    """
    if uses_syntax(column):
        raise ValueError(f"Stanza tags words here, but {column} needs syntax; leave out --stanza")
    tags_of = column_of(column)

    @functools.cache
    def tag(prompt: str, text: str) -> tuple[str | None, ...]:
        tagged = [
            (word.start, own)
            for sentence in sentences_of(prompt + text, pipeline(prompt + text))
            for word, own in zip(sentence.words, tags_of(sentence), strict=True)
        ]
        return tuple(own for start, own in tagged if start >= len(prompt))

    return tag
