"""What else than its tag a word is known by, as numbers: what a neuron may follow instead of the tag."""

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
    """Measure the ``CONFOUNDS`` of some words of a split.

    They are the tokens of the word; its place in the sentence in words, from 0; the natural logarithm of how often its
    lower-cased form occurs among all words of these sentences; whether its first character is upper case; whether it
    is the first word of its sentence.

    Args:
        sentences: The sentences of a split.
        rows: Positions of the words wanted among all words of the split.
        token_counts: Tokens of every word of the split.

    Returns:
        One row a word in the order of ``rows``, one column a confound in the order of ``CONFOUNDS``.

    Raises:
        ValueError: If there are not as many token counts as words, or a row is not among the words.
    """
    forms = [word.form for sentence in sentences for word in sentence.words]
    if len(token_counts) != len(forms):
        raise ValueError(f"got token counts of {len(token_counts)} words, but the sentences have {len(forms)}")
    _check_rows(rows, len(forms))
    count = Counter(form.lower() for form in forms)
    position = np.array([i for sentence in sentences for i in range(len(sentence.words))], dtype=np.float64)
    log_frequency = np.log(np.array([count[form.lower()] for form in forms], dtype=np.float64))
    capitalised = np.array([form[:1].isupper() for form in forms], dtype=bool)
    features = np.stack([token_counts, position, log_frequency, capitalised, position == 0], axis=1, dtype=np.float64)
    wanted: ndarray = features[rows]
    return wanted


def sentence_of_rows(sentences: Sequence[Sentence], rows: Int[ndarray, " words"]) -> Int[ndarray, " words"]:
    """The number of the sentence that each row, a position among all words of the sentences, stands in."""
    lengths = np.array([len(sentence.words) for sentence in sentences], dtype=np.int64)
    _check_rows(rows, int(lengths.sum()))
    numbers: ndarray = np.repeat(np.arange(len(lengths)), lengths)[rows]
    return numbers


def _check_rows(rows: Int[ndarray, " words"], n_words: int) -> None:
    if len(rows) and not 0 <= rows.min() <= rows.max() < n_words:
        received = f"{rows.min()}..{rows.max()}"
        raise ValueError(f"rows must lie in 0..{n_words - 1} (the words of the sentences), got {received}")
