"""Confounds: numeric properties of a word, other than its tag, that a neuron may encode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from unicodedata import category

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.records import Sentence

CONFOUNDS: tuple[str, ...] = (
    *("tokens", "log_frequency", "capitalised"),
    *("position", "relative_position", "sentence_initial", "sentence_final", "sentence_length"),
    *("after_punctuation", "before_punctuation"),
)


def word_features(
    sentences: Sequence[Sentence], rows: Int[ndarray, " words"], token_counts: Int[ndarray, " all_words"]
) -> Float[ndarray, "words confounds"]:
    """Compute the ``CONFOUNDS`` of selected words of a split.

    The confounds of a word are its number of tokens; the natural logarithm of the frequency of its
    lower-cased form in these sentences; whether its first character is upper case; its position in
    the sentence in words, from 0, and as a share of the last position, in 0..1; whether it is the
    first word of its sentence, and the last; the number of words of the sentence; and whether the
    word before it, and after it, consists of punctuation characters, whatever its tag.

    Args:
        sentences: The sentences of a split.
        rows: Positions of the selected words among all words of the split.
        token_counts: Number of tokens of every word of the split.

    Returns:
        One row per word in the order of ``rows``, one column per confound in the order of
        ``CONFOUNDS``.

    Raises:
        ValueError: If the number of token counts differs from the number of words, or a row is out
            of range.
    """
    forms = [word.form for sentence in sentences for word in sentence.words]
    if len(token_counts) != len(forms):
        raise ValueError(f"got token counts for {len(token_counts)} words, but the sentences have {len(forms)}")
    _check_rows(rows, len(forms))
    count = Counter(form.lower() for form in forms)
    lengths = np.array([len(sentence.words) for sentence in sentences], dtype=np.int64)
    length = np.repeat(lengths, lengths)
    position = np.array([i for n in lengths for i in range(n)], dtype=np.int64)
    first, last = position == 0, position == length - 1
    punctuation = np.array([is_punctuation(form) for form in forms], dtype=bool)
    log_frequency = np.log(np.array([count[form.lower()] for form in forms], dtype=np.float64))
    capitalised = np.array([form[:1].isupper() for form in forms], dtype=bool)
    of_form = token_counts, log_frequency, capitalised
    of_place = position, position / np.maximum(length - 1, 1), first, last, length
    neighbours = np.roll(punctuation, 1) & ~first, np.roll(punctuation, -1) & ~last
    features = np.stack([*of_form, *of_place, *neighbours], axis=1, dtype=np.float64)
    selected: ndarray = features[rows]
    return selected


def is_punctuation(form: str) -> bool:
    """Whether all characters of a form are punctuation by their Unicode category."""
    return all(category(character).startswith("P") for character in form)


def sentence_of_rows(sentences: Sequence[Sentence], rows: Int[ndarray, " words"]) -> Int[ndarray, " words"]:
    """Find the sentence number of each row, a position among all words of the sentences."""
    lengths = np.array([len(sentence.words) for sentence in sentences], dtype=np.int64)
    _check_rows(rows, int(lengths.sum()))
    numbers: ndarray = np.repeat(np.arange(len(lengths)), lengths)[rows]
    return numbers


def _check_rows(rows: Int[ndarray, " words"], n_words: int) -> None:
    if len(rows) and not 0 <= rows.min() <= rows.max() < n_words:
        received = f"{rows.min()}..{rows.max()}"
        raise ValueError(f"rows must lie in 0..{n_words - 1} (the words of the sentences), got {received}")
