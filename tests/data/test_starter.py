"""The packaged treebank: size, split shares, tags and spans."""

from __future__ import annotations

from collections import Counter

import pytest

from keyneurons.data.sources import Starter
from keyneurons.records import SPLITS, Sentence, Treebank, Word

MIN_WORDS_PER_TAG = 60
RARE_TAGS = {"SYM", "X"}
TAGS = {
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN"),
    *("NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB"),
}
ROLES = {
    "light": {"NOUN", "VERB", "ADJ"},
    "run": {"NOUN", "VERB"},
    "that": {"SCONJ", "PRON", "DET", "ADV"},
    "to": {"PART", "ADP", "SCONJ"},
    "like": {"ADP", "SCONJ", "VERB"},
    "so": {"ADV", "SCONJ"},
    "back": {"ADV", "NOUN", "ADJ"},
    "well": {"ADV", "INTJ", "NOUN", "ADJ"},
    "as": {"ADP", "SCONJ", "ADV"},
    "before": {"ADP", "SCONJ", "ADV"},
}


@pytest.fixture(scope="module")
def bank() -> Treebank:
    return Starter().load()


@pytest.fixture(scope="module")
def sentences(bank: Treebank) -> list[Sentence]:
    return [sentence for split in SPLITS for sentence in bank.splits[split]]


@pytest.fixture(scope="module")
def words(sentences: list[Sentence]) -> list[Word]:
    return [word for sentence in sentences for word in sentence.words]


def test_size(sentences: list[Sentence], words: list[Word]) -> None:
    assert len(sentences) >= 800
    assert len(words) >= 8000


def test_shares_of_the_splits(bank: Treebank, sentences: list[Sentence], words: list[Word]) -> None:
    shares = [0.7, 0.15, 0.15]
    assert [len(bank.splits[split]) / len(sentences) for split in SPLITS] == pytest.approx(shares, abs=0.02)
    assert [bank.n_words(split) / len(words) for split in SPLITS] == pytest.approx(shares, abs=0.02)


def test_every_tag_has_words(words: list[Word]) -> None:
    counts = Counter(word.upos for word in words)
    assert set(counts) - RARE_TAGS == TAGS - RARE_TAGS
    assert {tag: n for tag, n in counts.items() if n < MIN_WORDS_PER_TAG and tag not in RARE_TAGS} == {}


def test_every_split_has_every_tag(bank: Treebank) -> None:
    for split in SPLITS:
        assert {word.upos for sentence in bank.splits[split] for word in sentence.words} >= TAGS


@pytest.mark.parametrize("form", ROLES)
def test_ambiguous_words_in_several_roles(words: list[Word], form: str) -> None:
    assert {word.upos for word in words if word.form.lower() == form} >= ROLES[form]


def test_her_is_possessive_and_object(sentences: list[Sentence]) -> None:
    after = Counter(
        following.upos
        for sentence in sentences
        for word, following in zip(sentence.words, sentence.words[1:], strict=False)
        if word.form.lower() == "her"
    )
    assert after["NOUN"] >= 10  # her boots
    assert after["PUNCT"] + after["PART"] + after["ADP"] >= 5  # told her that, asked her.


def test_texts_are_unique_and_none_was_dropped(bank: Treebank, sentences: list[Sentence]) -> None:
    texts = Counter(sentence.text.casefold() for sentence in sentences)
    assert [text for text, n in texts.items() if n > 1] == []
    assert not any(bank.duplicates_dropped.values())


def test_no_document_stands_in_two_splits(bank: Treebank) -> None:
    documents = [{sentence.id.rpartition("-")[0] for sentence in bank.splits[split]} for split in SPLITS]
    assert len(set().union(*documents)) == sum(map(len, documents))


def test_ids_are_unique(sentences: list[Sentence]) -> None:
    assert len({sentence.id for sentence in sentences}) == len(sentences)


def test_every_span_spells_its_word(bank: Treebank, sentences: list[Sentence]) -> None:
    assert bank.shared_spans == 0
    wrong = [(s.id, w.form) for s in sentences for w in s.words if s.text[w.start : w.end] != w.form]
    assert wrong == []


def test_plain_ascii(sentences: list[Sentence]) -> None:
    assert [sentence.id for sentence in sentences if not sentence.text.isascii()] == []


def test_the_words_carry_no_more_than_a_tag(words: list[Word]) -> None:
    assert all(word.upos in TAGS and word.xpos is None and not word.feats for word in words)
