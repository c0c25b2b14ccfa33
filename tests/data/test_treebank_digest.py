"""The treebank digest changes with texts, spans, forms and tags only."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyneurons.data.digests import treebank_digest
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
    assert treebank_digest(other) != treebank_digest(BANK)


@pytest.mark.parametrize(
    "same", [replace(BANK, id="other"), changed(name="other"), changed(replace(WORD, feats={"B": "2", "A": "1"}))]
)
def test_names_and_orders_do_not_count(same: Treebank) -> None:
    assert treebank_digest(same) == treebank_digest(BANK)


def test_the_digest_of_texts_sees_texts_and_spans_only() -> None:
    of_dev = [texts_digest(bank.splits["dev"]) for bank in (BANK, *OTHERS)]
    assert [digest == of_dev[0] for digest in of_dev[1:]] == [True, True, True, True, False, False, False]
