"""Word features: hand-counted examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from keyneurons.data.word_features import CONFOUNDS, sentence_of_rows, word_features
from keyneurons.records import Sentence, Word


def sentence(forms: str) -> Sentence:
    return Sentence(forms, forms, tuple(Word(form, 0, 1, "X", None) for form in forms.split()))


SENTENCES = (sentence("The dog saw the Dog ."), sentence(""), sentence("a dog"), sentence("Über 3"))
TOKENS = np.array([1, 1, 1, 1, 2, 1, 1, 1, 3, 2])
ALL = np.arange(10)


def test_features_are_counted_by_hand():
    dog, the = math.log(3), math.log(2)
    expected = {
        0: [1, the, 1, 0, 0, 1, 0, 6, 0, 0],
        1: [1, dog, 0, 1, 0.2, 0, 0, 6, 0, 0],
        4: [2, dog, 1, 4, 0.8, 0, 0, 6, 0, 1],
        5: [1, 0, 0, 5, 1, 0, 1, 6, 0, 0],
        7: [1, dog, 0, 1, 1, 0, 1, 2, 0, 0],
        8: [3, 0, 1, 0, 0, 1, 0, 2, 0, 0],
        9: [2, 0, 0, 1, 1, 0, 1, 2, 0, 0],
    }
    features = word_features(SENTENCES, np.array(list(expected)), TOKENS)
    assert features.dtype == np.float64
    assert features.tolist() == list(expected.values())
    assert features.shape[1] == len(CONFOUNDS)
    assert CONFOUNDS == (
        "tokens",
        "log_frequency",
        "capitalised",
        "position",
        "relative_position",
        "sentence_initial",
        "sentence_final",
        "sentence_length",
        "after_punctuation",
        "before_punctuation",
    )


def test_neighbouring_punctuation_is_within_the_sentence_and_by_form():
    texts = (sentence("« Oh , ... $ !? x"), sentence("."), sentence("y — 's"))
    features = word_features(texts, np.arange(11), np.ones(11, dtype=np.int64))
    after, before = (features[:, CONFOUNDS.index(f"{side}_punctuation")].tolist() for side in ("after", "before"))
    assert after == [0, 1, 0, 1, 1, 0, 1, 0, 0, 0, 1]
    assert before == [0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0]
    single = features[7]
    places = ("relative_position", "sentence_initial", "sentence_final")
    assert [single[CONFOUNDS.index(name)] for name in places] == [0, 1, 1]


def test_words_not_asked_for_still_count_as_occurrences():
    column = CONFOUNDS.index("log_frequency")
    assert word_features(SENTENCES, np.array([1]), TOKENS)[0, column] == math.log(3)
    assert word_features(SENTENCES[:1], np.array([1]), TOKENS[:6])[0, column] == math.log(2)


def test_rows_may_stand_in_any_order_and_be_none():
    order = np.array([9, 0, 4])
    whole = word_features(SENTENCES, ALL, TOKENS)
    assert np.array_equal(word_features(SENTENCES, order, TOKENS), whole[order])
    assert word_features(SENTENCES, ALL[:0], TOKENS).shape == (0, len(CONFOUNDS))
    assert word_features((), ALL[:0], TOKENS[:0]).shape == (0, len(CONFOUNDS))


def test_sentences_of_rows_skip_the_empty_one():
    assert sentence_of_rows(SENTENCES, ALL).tolist() == [0] * 6 + [2] * 2 + [3] * 2
    assert sentence_of_rows(SENTENCES, np.array([9, 1, 6])).tolist() == [3, 0, 2]
    assert sentence_of_rows((), ALL[:0]).tolist() == []


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="got token counts for 9 words, but the sentences have 10"):
        word_features(SENTENCES, ALL, TOKENS[:9])
    for wrong, received in (([3, 10], r"3\.\.10"), ([-1, 3], r"-1\.\.3")):
        with pytest.raises(
            ValueError, match=rf"rows must lie in 0\.\.9 \(the words of the sentences\), got {received}"
        ):
            word_features(SENTENCES, np.array(wrong), TOKENS)
        with pytest.raises(ValueError, match="rows must lie in"):
            sentence_of_rows(SENTENCES, np.array(wrong))
