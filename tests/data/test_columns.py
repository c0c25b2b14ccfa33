"""Columns of labels: a tree labelled by hand, and errors that name the columns there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyneurons.choices import TAG_COLUMNS
from keyneurons.config.values import tag_column
from keyneurons.data.columns import OF_TREES, OF_WORDS, column_of, columns_in, uses_syntax
from keyneurons.data.conllu import read_conllu
from keyneurons.data.digests import treebank_digests
from keyneurons.data.labels import balanced, label
from keyneurons.records import Sentence, Treebank, Word

#   The old dogs of her aunt have been barking
TREE = """\
# text = The old dogs of her aunt have been barking
1\tThe\tthe\tDET\tDT\tDefinite=Def\t3\tdet\t_\t_
2\told\told\tADJ\tJJ\tDegree=Pos\t3\tamod\t_\t_
3\tdogs\tdog\tNOUN\tNNS\tNumber=Plur\t9\tnsubj\t_\t_
4\tof\tof\tADP\tIN\t_\t6\tcase\t_\t_
5\ther\ther\tPRON\tPRP$\tNumber=Sing\t6\tnmod:poss\t_\t_
6\taunt\taunt\tNOUN\tNN\tNumber=Sing\t3\tnmod\t_\t_
7\thave\thave\tAUX\tVBP\tNumber=Plur\t9\taux\t_\t_
8\tbeen\tbe\tAUX\tVBN\t_\t9\taux\t_\t_
9\tbarking\tbark\tVERB\tVBG\t_\t0\troot\t_\t_
"""
BY_HAND = {
    "upos": "DET ADJ NOUN ADP PRON NOUN AUX AUX VERB",
    "xpos": "DT JJ NNS IN PRP$ NN VBP VBN VBG",
    "script": "Latin Latin Latin Latin Latin Latin Latin Latin Latin",
    "feats.Number": "_ _ Plur _ Sing Sing Plur _ _",
    "deprel": "det amod nsubj case nmod:poss nmod aux aux root",
    "deprel.main": "det amod nsubj case nmod nmod aux aux root",
    "head.upos": "NOUN NOUN VERB NOUN NOUN NOUN VERB VERB root",
    "head.direction": "right right right right right left right right root",
    "head.distance": "2 1 5-9 2 1 3-4 2 1 _",
    "depth": "2 2 1 3 3 2 1 1 0",
    "upos+feats.Number": "_ _ NOUN+Plur _ PRON+Sing NOUN+Sing AUX+Plur _ _",
}


@pytest.fixture
def sentence(tmp_path: Path) -> Sentence:
    (tmp_path / "tree.conllu").write_text(TREE + "\n")
    (only,) = read_conllu(tmp_path / "tree.conllu").sentences
    return only


@pytest.mark.parametrize("column", BY_HAND)
def test_a_tree_is_labelled_as_by_hand(sentence: Sentence, column: str) -> None:
    expected = [None if each == "_" else each for each in BY_HAND[column].split()]
    assert list(column_of(column)(sentence)) == expected


def test_far_heads_and_deep_words_share_open_bins() -> None:
    words = [Word("w", i, i + 1, "X", None, {}, i + 1, i, "dep") for i in range(12)]  # a chain
    words[11] = Word("w", 11, 12, "X", None, {}, 12, 1, "dep")
    chain = Sentence("chain", "w" * 12, tuple(words))
    assert list(column_of("depth")(chain)) == ["0", "1", "2", "3", "4", *["5+"] * 6, "1"]
    assert list(column_of("head.distance")(chain))[-1] == "10+"


def test_words_whose_head_was_dropped_have_no_label(sentence: Sentence) -> None:
    kept = Sentence(sentence.id, sentence.text, tuple(w for w in sentence.words if w.number != 3))
    assert list(column_of("head.upos")(kept))[:3] == [None, None, "NOUN"]
    assert list(column_of("depth")(kept))[:5] == [None, None, None, None, None]  # of her aunt hang on dogs
    assert list(column_of("deprel")(kept))[:2] == ["det", "amod"]


def test_heads_in_a_cycle_name_the_sentence() -> None:
    words = tuple(Word("w", i, i + 1, "X", None, {}, i + 1, head, "dep") for i, head in enumerate((2, 1)))
    with pytest.raises(ValueError, match=r"^sentence s7: the heads of its words form a cycle"):
        column_of("depth")(Sentence("s7", "ww", words))


def test_the_columns_of_a_text_are_those_with_labels(sentence: Sentence) -> None:
    expected = [*(name for name in BY_HAND if "+" not in name), "feats.Definite", "feats.Degree"]
    assert sorted(columns_in([sentence])) == sorted(expected)


@pytest.mark.parametrize(("head", "told"), [("x", "got 'x'"), ("-1", "got '-1'"), ("1.5", "got '1.5'")])
def test_a_head_that_is_no_number_names_file_and_line(tmp_path: Path, head: str, told: str) -> None:
    file = tmp_path / "bad.conllu"
    file.write_text(TREE.replace("\t9\tnsubj", f"\t{head}\tnsubj") + "\n")
    with pytest.raises(ValueError, match=rf"^{file}:4: HEAD must be the id of a word, 0 or _, {told}$"):
        read_conllu(file)


def test_the_schema_knows_the_same_columns() -> None:
    assert set(TAG_COLUMNS) == {*OF_WORDS, *OF_TREES}
    for name in (*TAG_COLUMNS, "feats.Number", "upos+feats.Number", "feats.Number[psor]"):
        assert tag_column(name) == name
        column_of(name)


@pytest.mark.parametrize(
    ("name", "suggested"),
    [("Number", "feats.Number"), ("UPOS", "upos"), ("deprels", "deprel"), ("upos+Number", "feats.Number")],
)
def test_a_wrong_column_suggests_one(name: str, suggested: str) -> None:
    with pytest.raises(ValueError, match=rf"did you mean {suggested}\?$"):
        tag_column(name)
    with pytest.raises(ValueError, match="there is no tag column"):
        column_of(name)


def test_the_digest_covers_the_tree_where_labels_come_from_it(sentence: Sentence) -> None:
    words = list(sentence.words)
    words[0] = Word(
        *[getattr(words[0], n) for n in ("form", "start", "end", "upos", "xpos", "feats", "number")], 2, "det"
    )
    bank, other = (
        Treebank("b", dict.fromkeys(("train", "dev", "test"), (s,)))
        for s in (sentence, Sentence(sentence.id, sentence.text, tuple(words)))
    )
    assert treebank_digests(bank) == treebank_digests(other)
    assert treebank_digests(bank, syntax=True) != treebank_digests(other, syntax=True)
    assert [uses_syntax(name) for name in ("upos", "feats.Number", "deprel", "upos+depth")] == [
        False,
        False,
        True,
        True,
    ]


def test_balance_draws_train_words_of_every_tag(sentence: Sentence) -> None:
    bank = Treebank("b", dict.fromkeys(("train", "dev", "test"), (sentence,) * 30))
    whole = label(bank, "upos", min_words_per_tag=1)
    drawn = balanced(whole, 40, seed=3)
    assert dict(zip(drawn.names, drawn.counts("train").tolist(), strict=True)) == {
        "ADJ": 30, "ADP": 30, "AUX": 40, "DET": 30, "NOUN": 40, "PRON": 30, "VERB": 30,
    }  # fmt: skip
    assert drawn.counts("test").tolist() == whole.counts("test").tolist()
    assert sorted(set(drawn.splits["train"].rows.tolist())) == drawn.splits["train"].rows.tolist()
    again, other = balanced(whole, 40, seed=3), balanced(whole, 40, seed=4)
    assert again.splits["train"].rows.tolist() == drawn.splits["train"].rows.tolist()
    assert other.splits["train"].rows.tolist() != drawn.splits["train"].rows.tolist()
