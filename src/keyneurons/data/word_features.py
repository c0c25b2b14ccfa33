"""Confounds: numeric properties of a word, other than its tag, that a neuron may encode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from keyneurons.records import Sentence

CONFOUNDS: tuple[str, ...] = ("tokens", "position", "log_frequency", "capitalised", "sentence_initial")


def word_features(
    sentences: Sequence[Sentence], rows: Int[ndarray, " words"], token_counts: Int[ndarray, " all_words"]
) -> Float[ndarray, "words confounds"]:
    """Compute the ``CONFOUNDS`` of selected words of a split.

    The confounds of a word are its number of tokens; its position in the sentence in words, from 0;
    the natural logarithm of the frequency of its lower-cased form in these sentences; whether its
    first character is upper case; and whether it is the first word of its sentence.

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
    position = np.array([i for sentence in sentences for i in range(len(sentence.words))], dtype=np.float64)
    log_frequency = np.log(np.array([count[form.lower()] for form in forms], dtype=np.float64))
    capitalised = np.array([form[:1].isupper() for form in forms], dtype=bool)
    features = np.stack([token_counts, position, log_frequency, capitalised, position == 0], axis=1, dtype=np.float64)
    selected: ndarray = features[rows]
    return selected


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
