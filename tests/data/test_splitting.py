"""Splits, duplicates and caps: no sentence is lost or repeated, and the order is kept."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from keyneurons.data.splitting import cap, drop_duplicates, make_treebank, split_sentences
from keyneurons.records import Sentence, Split, Treebank, Word


def sentence(text: str) -> Sentence:
    starts = [0, *(i + 1 for i, c in enumerate(text) if c == " ")]
    words = (Word(form, start, start + len(form), "X", None) for form, start in zip(text.split(), starts, strict=True))
    return Sentence(text, text, tuple(words))


def treebank(train: str, dev: str, test: str) -> Treebank:
    parts = [tuple(sentence(text) for text in texts.split("|")) for texts in (train, dev, test)]
    return make_treebank("toy", {"train": parts[0], "dev": parts[1], "test": parts[2]})


def texts(sentences: Sequence[Sentence]) -> list[str]:
    return [s.text for s in sentences]


SENTENCES = [sentence(f"s{i:03}") for i in range(101)]


def test_every_sentence_is_in_one_split_in_the_original_order() -> None:
    splits = split_sentences(SENTENCES, (0.7, 0.15, 0.15), seed=3)
    assert {name: len(part) for name, part in splits.items()} == {"train": 71, "dev": 15, "test": 15}
    assert sorted(text for part in splits.values() for text in texts(part)) == texts(SENTENCES)
    assert all(texts(part) == sorted(texts(part)) for part in splits.values())


def test_the_seed_decides_the_split() -> None:
    first, again, other = (split_sentences(SENTENCES, (0.5, 0.25, 0.25), seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("fractions", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.0, 0.0, 0.0), (1.2, -0.1, -0.1)])
def test_fractions_must_be_three_shares(fractions: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="three positive shares"):
        split_sentences(SENTENCES, fractions, 0)


def test_no_split_is_empty() -> None:
    with pytest.raises(ValueError, match=r"3 sentences split by .* leave test empty: give more sentences"):
        split_sentences(SENTENCES[:3], (0.7, 0.15, 0.15), 0)


def test_duplicates_are_dropped_from_later_splits_and_counted() -> None:
    dropped = drop_duplicates(treebank("a|b|b", "b|c|c|d", "a|d|e|E|b"))
    assert {name: texts(part) for name, part in dropped.splits.items()} == {
        "train": ["a", "b", "b"],
        "dev": ["c", "c", "d"],
        "test": ["e", "E"],
    }
    assert dropped.duplicates_dropped == {"dev": 1, "test": 3}
    assert drop_duplicates(dropped) == dropped


def test_a_sentence_dropped_from_dev_still_counts_for_test() -> None:
    assert texts(drop_duplicates(treebank("a", "a|b", "a|b|c")).splits["test"]) == ["c"]


def test_a_split_of_duplicates_only_is_an_error() -> None:
    with pytest.raises(ValueError, match="toy: every sentence of test also occurs in an earlier split"):
        drop_duplicates(treebank("a", "b", "a|b"))


def test_caps_keep_the_first_whole_sentences() -> None:
    bank = treebank("a b c|d e|f|g", "h|i|j", "k|l m n|o")
    capped = cap(bank, {"train": None, "dev": 2}, {"train": 5, "test": 3})
    assert {name: texts(part) for name, part in capped.splits.items()} == {
        "train": ["a b c", "d e"],
        "dev": ["h", "i"],
        "test": ["k"],
    }
    assert cap(bank, {}, {}) == bank
    assert cap(bank, {"train": 99}, {"train": 99}) == bank


@pytest.mark.parametrize("caps", [({"dev": 0}, {}), ({"dev": -1}, {}), ({}, {"dev": 2})])
def test_a_cap_that_leaves_nothing_is_an_error(caps: tuple[dict[Split, int | None], dict[Split, int | None]]) -> None:
    with pytest.raises(ValueError, match=r"leave no sentence of dev; its first sentence has 3 words"):
        cap(treebank("a", "b c d|e", "f"), *caps)


def test_caps_and_duplicates_recount_the_shared_spans() -> None:
    du = Sentence("du", "du", (Word("de", 0, 2, "ADP", None), Word("le", 0, 2, "DET", None)))
    bank = make_treebank("toy", {"train": (sentence("a"), du), "dev": (sentence("b"), du), "test": (sentence("c"),)})
    assert bank.shared_spans == 4
    assert drop_duplicates(bank).shared_spans == 2
    assert cap(drop_duplicates(bank), {"train": 1}, {}).shared_spans == 0
    assert cap(drop_duplicates(bank), {"train": 1}, {}).duplicates_dropped == {"dev": 1, "test": 0}
