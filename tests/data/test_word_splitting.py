"""The words of plain text."""

from __future__ import annotations

import pytest

from keyneurons.data.word_splitting import split_words, word_spans

WORDS = {
    "She didn't see it.": ["She", "did", "n't", "see", "it", "."],
    "It's John\u2019s, they'll say": ["It", "'s", "John", "\u2019s", ",", "they", "'ll", "say"],
    "rock'n'roll 'tis": ["rock", "'", "n", "'", "roll", "'", "tis"],
    "x2 3.5, 1,000. a_b": ["x2", "3.5", ",", "1,000", ".", "a", "_", "b"],
    "\u0928\u092e\u0938\u094d\u0924\u0947": ["\u0928\u092e\u0938\u094d\u0924\u0947"],  # Hindi vowel signs
    "cafe\u0301!": ["cafe\u0301", "!"],
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd": ["\u05e9\u05dc\u05d5\u05dd", "\u05e2\u05d5\u05dc\u05dd"],
    "\U0001f44d\U0001f3fdok": ["\U0001f44d", "\U0001f3fd", "ok"],
    "\u2764\ufe0f": ["\u2764\ufe0f"],
    "": [],
}


@pytest.mark.parametrize("text", WORDS, ids=range(len(WORDS)))
def test_words(text):
    assert [text[start:end] for start, end in word_spans(text)] == WORDS[text]


def test_a_sentence_has_the_words_at_their_places() -> None:
    sentence = split_words("Don't pay 3.50, \u201cnow\u201d: well-known.", "line 1")
    forms = ["Do", "n't", "pay", "3.50", ",", "\u201c", "now", "\u201d", ":", "well", "-", "known", "."]
    assert [word.form for word in sentence.words] == forms
    assert all(sentence.text[word.start : word.end] == word.form for word in sentence.words)
    assert split_words(" \n").words == ()
