"""Labels: hand-counted examples, and errors that list the legal names."""

from __future__ import annotations

import pytest

from keyneurons.data.labels import label
from keyneurons.records import SPLITS, Sentence, Treebank, Word


def sentence(tagged: str) -> Sentence:
    """Parse ``Dogs/NOUN/Number=Plur``; ``_`` stands for no tag."""
    words = []
    for item in tagged.split():
        form, upos, *feats = item.split("/")
        words.append(Word(form, 0, 1, None if upos == "_" else upos, None, dict(f.split("=") for f in feats)))
    return Sentence(tagged, tagged, tuple(words))


def treebank(train: str, dev: str, test: str) -> Treebank:
    parts = {
        split: tuple(map(sentence, part.split("|"))) for split, part in zip(SPLITS, (train, dev, test), strict=True)
    }
    return Treebank("toy", parts)


BANK = treebank(
    "Dogs/NOUN/Number=Plur run/VERB|A/DET Dog/NOUN/Number=Sing ran/VERB oh/INTJ|x/_",
    "Cats/NOUN/Number=Plur x/_|sleep/VERB one/NOUN/Number=Sing",
    "it/PRON/Number=Sing|Oxen/NOUN/Number=Plur go/VERB ./PUNCT",
)


def test_labels_are_counted_by_hand() -> None:
    labels = label(BANK, "upos", min_words_per_tag=2)
    assert labels.names == ("NOUN", "VERB")
    assert labels.left_out == {"DET": 1, "INTJ": 1, "PRON": 0, "PUNCT": 0}
    train, dev, test = (labels.splits[split] for split in SPLITS)
    assert train.rows.tolist() == [0, 1, 3, 4]
    assert train.tags.tolist() == [0, 1, 0, 1]
    assert (train.forms, train.types) == (("Dogs", "run", "Dog", "ran"), ("dogs", "run", "dog", "ran"))
    assert (dev.rows.tolist(), dev.tags.tolist()) == ([0, 2, 3], [0, 1, 0])
    assert (test.rows.tolist(), test.forms) == ([1, 2], ("Oxen", "go"))
    assert labels.counts("dev").tolist() == [2, 1]


def test_a_feature_labels_only_the_words_that_have_it() -> None:
    labels = label(BANK, "feats.Number", min_words_per_tag=1)
    assert (labels.column, labels.names, labels.left_out) == ("feats.Number", ("Plur", "Sing"), {})
    assert labels.splits["train"].rows.tolist() == [0, 3]
    assert labels.splits["test"].tags.tolist() == [1, 0]


def test_wanted_tags_are_the_only_ones_in_any_order() -> None:
    labels = label(BANK, "upos", tags=["VERB", "NOUN"], min_words_per_tag=1)
    assert (labels.names, labels.left_out) == (("NOUN", "VERB"), {})


@pytest.mark.parametrize("column", ["xpos", "feats.Tense", "deprel", "head.distance"])
def test_a_column_without_tags_names_those_that_have_some(column: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^toy: no word in train has a tag in column '{column}'; .*: upos, script, feats.Number$"
    ):
        label(BANK, column)


REFUSED = {
    "unknown": (
        ["NOUN", "NUON"],
        1,
        r"no tag NUON in column 'upos'; the tags of this column are DET, INTJ, NOUN, PRON, PUNCT, VERB$",
    ),
    "blank": (
        ["NOUN", " VERB", ""],
        1,
        r"no tag '', ' VERB' in column 'upos'; the tags of this column are DET, INTJ, NOUN",
    ),
    "rare": (
        ["NOUN", "INTJ"],
        2,
        r"too few training words for INTJ \(1\) of column 'upos': min_words_per_tag=2; lower",
    ),
    "single": (
        ["NOUN"],
        1,
        r"at least two tags of column 'upos' are needed, got NOUN; words in train: DET \(1\), INTJ",
    ),
    "none": ([], 1, "at least two tags of column 'upos' are needed, got none"),
    "all rare": (None, 20, r"at least two tags .*, got none; words in train: .* VERB \(2\)$"),
    "dev lacks": (
        None,
        1,
        r"no word in dev has the tag DET, INTJ of column 'upos': raise min_words_per_tag, add .* tags=\[NOUN,",
    ),
}


@pytest.mark.parametrize(("tags", "min_words", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals_say_what_there_is(tags: list[str] | None, min_words: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label(BANK, "upos", tags, min_words)


def test_a_tag_without_a_word_in_test_is_refused() -> None:
    bank = treebank("a/X b/Y", "a/X b/Y", "a/X a/X")
    with pytest.raises(ValueError, match="no word in test has the tag Y of column 'upos'"):
        label(bank, "upos", min_words_per_tag=1)


def test_first_words_can_be_left_out() -> None:
    bank = treebank(
        "A/DET dog/NOUN ran/VERB|Go/VERB big/_ dog/NOUN", "a/DET dog/NOUN ran/VERB", "x/_ dog/NOUN ran/VERB"
    )
    labels = label(bank, "upos", min_words_per_tag=1, first_words=False)
    assert (labels.names, labels.left_out) == (("NOUN", "VERB"), {})
    assert labels.splits["train"].rows.tolist() == [1, 2, 5]
    assert label(bank, "upos", ["NOUN", "VERB"], 1).splits["train"].rows.tolist() == [1, 2, 3, 5]
