"""The treebank digest changes with texts, spans, forms and tags only."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from keyneurons.data.digests import treebank_digests
from keyneurons.digests import texts_digest
from keyneurons.records import Sentence, Treebank, Word

WORD = Word("a", 0, 1, "X", "x", {"A": "1", "B": "2"})
BANK = Treebank("toy", {split: (Sentence(split, "a a", (WORD,)),) for split in ("train", "dev", "test")})


def changed(word: Word = WORD, text: str = "a a", name: str = "dev") -> Treebank:
    """The treebank with a different dev sentence."""
    return replace(BANK, splits={**BANK.splits, "dev": (Sentence(name, text, (word,)),)})


OTHER_SPAN = replace(WORD, start=2, end=3)
OTHERS = [
    changed(replace(WORD, upos="Y")),
    changed(replace(WORD, xpos=None)),
    changed(replace(WORD, feats={"A": "1"})),
    changed(replace(WORD, form="A")),
    changed(OTHER_SPAN),
    changed(text="a b"),
    replace(BANK, splits={**BANK.splits, "dev": BANK.splits["dev"] * 2}),
]


@pytest.mark.parametrize("other", OTHERS)
def test_another_text_span_or_tag_is_another_digest(other: Treebank) -> None:
    assert treebank_digests(other).whole != treebank_digests(BANK).whole


@pytest.mark.parametrize(
    "same", [replace(BANK, id="other"), changed(name="other"), changed(replace(WORD, feats={"B": "2", "A": "1"}))]
)
def test_names_and_orders_do_not_count(same: Treebank) -> None:
    assert treebank_digests(same) == treebank_digests(BANK)


@pytest.mark.parametrize("other", OTHERS)
def test_each_split_has_its_own_digest(other: Treebank) -> None:
    splits, before = treebank_digests(other).splits, treebank_digests(BANK).splits
    assert [split for split in before if splits[split] != before[split]] == ["dev"]


def test_splits_of_the_same_text_have_the_same_digest() -> None:
    own = treebank_digests(BANK).splits
    assert own["train"] == own["dev"] == own["test"]


def test_the_digest_is_that_of_the_json_of_all_splits() -> None:
    word = ["a", 0, 1, "X", "x", {"A": "1", "B": "2"}]
    text = json.dumps([[["a a", [word]]]] * 3)
    assert treebank_digests(BANK).whole == hashlib.sha256(text.encode()).hexdigest()


def test_the_digest_of_texts_sees_texts_and_spans_only() -> None:
    of_dev = [texts_digest(bank.splits["dev"]) for bank in (BANK, *OTHERS)]
    assert [digest == of_dev[0] for digest in of_dev[1:]] == [True, True, True, True, False, False, False]
