"""CoNLL-U reading: hand-counted spans, both kinds of multi-word range, malformed files."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyneurons.data.conllu import read_conllu
from keyneurons.records import Sentence


def row(word_id: str, form: str, upos: str = "X", feats: str = "_", misc: str = "_", xpos: str = "_") -> str:
    return "\t".join([word_id, form, "_", upos, xpos, feats, "_", "_", "_", misc])


def written(folder: Path, *lines: str) -> Path:
    path = folder / "toy.conllu"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def spelt(sentence: Sentence) -> list[str]:
    return [sentence.text[word.start : word.end] for word in sentence.words]


def test_text_is_rebuilt_from_forms_and_space_after(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        row("1", "Well", misc="SpaceAfter=No"),
        row("2", ",", misc="Lang=en|SpacesAfter=\\s\\s"),
        row("3", "yes", misc="SpacesAfter=\\n"),
        row("4", "!", misc="_"),
    )
    (sentence,) = read_conllu(path).sentences
    assert sentence.text == "Well, yes !"
    assert [(w.start, w.end) for w in sentence.words] == [(0, 4), (4, 5), (6, 9), (10, 11)]


def test_text_comment_is_taken_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, "# text_en = no", "# text = A  b.", row("1", "A"), row("2", "b"), row("3", "."))
    (sentence,) = read_conllu(path).sentences
    assert sentence.text == "A  b."
    assert [(w.start, w.end) for w in sentence.words] == [(0, 1), (3, 4), (4, 5)]


def test_tags_and_features(tmp_path: Path) -> None:
    path = written(tmp_path, row("1", "dogs", "NOUN", "Case=Nom|Number=Plur", xpos="NNS"), row("2", "_", "_"))
    first, second = read_conllu(path).sentences[0].words
    assert (first.upos, first.xpos, first.feats) == ("NOUN", "NNS", {"Case": "Nom", "Number": "Plur"})
    assert (second.form, second.upos, second.xpos, second.feats) == ("_", None, None, {})


def test_ids_come_from_sent_id_or_the_first_line(tmp_path: Path) -> None:
    path = written(tmp_path, "# sent_id = s-1", row("1", "a"), "", "# newpar", row("1", "b"), "", "", row("1", "c"))
    assert [s.id for s in read_conllu(path).sentences] == ["s-1", "toy.conllu:4", "toy.conllu:8"]


@pytest.mark.parametrize("surface", ["don't", "DoN'T"])
def test_words_that_spell_their_range_have_their_own_spans(tmp_path: Path, surface: str) -> None:
    path = written(
        tmp_path,
        row("1", "I"),
        row("2-3", surface, "_", misc="SpaceAfter=No"),
        row("2", "do"),  # no SpaceAfter=No here: only the line of the range counts
        row("3", "n't"),
        row("4", "."),
    )
    file = read_conllu(path)
    (sentence,) = file.sentences
    assert sentence.text == f"I {surface}."
    assert spelt(sentence) == ["I", surface[:2], surface[2:], "."]
    assert file.shared_spans == 0


def test_words_that_do_not_spell_their_range_share_its_span(tmp_path: Path) -> None:
    path = written(
        tmp_path, row("1-2", "du", "_"), row("1", "de"), row("2", "le"), row("3", "pain"), "", row("1", "du")
    )
    file = read_conllu(path)
    assert spelt(file.sentences[0]) == ["du", "du", "pain"]
    assert [w.form for w in file.sentences[0].words] == ["de", "le", "pain"]
    assert file.shared_spans == 2


def test_empty_nodes_are_no_words(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        row("0.1", "gone"),
        row("1-2", "ab"),
        row("1", "a"),
        row("1.1", "gone"),
        row("2", "b"),
        row("2.1", "x"),
    )
    (sentence,) = read_conllu(path).sentences
    assert spelt(sentence) == ["a", "b"]


def test_forms_may_hold_spaces(tmp_path: Path) -> None:
    path = written(tmp_path, "# text = 1 000 \u00a0km", row("1", "1 000"), row("2", "\u00a0km"))
    assert spelt(read_conllu(path).sentences[0]) == ["1 000", "\u00a0km"]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress), ("", bytes)])
def test_packed_files_line_ends_and_missing_last_blank_line(tmp_path: Path, suffix: str, pack: object) -> None:
    assert callable(pack)
    path = tmp_path / f"toy.conllu{suffix}"
    path.write_bytes(pack("\ufeff# sent_id = é\r\n{}\r\n\r\n{}".format(row("1", "a"), row("1", "é")).encode()))
    assert [(s.id, s.text) for s in read_conllu(path).sentences] == [("é", "a"), (f"toy.conllu{suffix}:4", "é")]


A, B = row("1", "a"), row("2", "b")
MALFORMED = {
    "columns": ((A, "2\tb"), 2, "expected 10 columns separated by tabs, got 2"),
    "spaces for tabs": ((A.replace("\t", " "),), 1, "expected 10 columns separated by tabs, got 1"),
    "id": ((A, row("x", "b")), 2, "id 'x' is not a word"),
    "zero": ((row("0", "a"),), 1, "id '0' is not a word"),
    "gap": ((A, row("3", "b")), 2, "id 3 is out of order: the next word is 2"),
    "twice": ((A, A), 2, "id 1 is out of order: the next word is 2"),
    "no blank line": (("# sent_id = 1", A, B, "# sent_id = 2", A), 5, "id 1 is out of order: the next word is 3"),
    "range start": ((A, row("3-4", "bc"), B), 2, "id 3 is out of order: the next word is 2"),
    "range in range": (
        (row("1-3", "abc"), A, row("2-3", "bc")),
        3,
        "range 2-3 is empty or starts inside another range",
    ),
    "range backwards": ((A, row("2-1", "bc")), 2, "range 2-1 is empty"),
    "range end": ((A, "", row("1-3", "abc"), A, B), 3, "the range ends at 3, the sentence at 2"),
    "form": ((A, row("2", "")), 2, "the form is empty"),
    "features": ((A, row("2", "b", feats="Plur")), 2, "features are written Name=Value|Name=Value or _, got 'Plur'"),
    "feature twice": ((A, row("2", "b", feats="A=1|B=2|A=3")), 2, "a feature occurs twice in 'A=1|B=2|A=3'"),
    "feature twice alike": ((row("1", "a", feats="A=1|A=1"),), 1, "a feature occurs twice"),
    "text": (("# text = a c", A, B), 3, "form 'b' does not match # text, which continues with ' c'"),
    "text ends": (("# text = a", A, B), 3, "form 'b' does not match # text, which continues with ''"),
    "text goes on": (("# text = a b c", A, B), 3, "# text continues after the last word: ' c'"),
    "no words": ((A, "", "# sent_id = 2", "# text = b", "", A), 3, "the sentence has no words"),
    "no tags": ((row("1", "a", "_"), row("2", "b", "_")), 1, "no word in the file has a tag"),
    "empty": (("", ""), 1, "the file has no sentences"),
}


@pytest.mark.parametrize(("lines", "line", "what"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_files_are_one_line_with_file_and_line(
    tmp_path: Path, lines: tuple[str, ...], line: int, what: str
) -> None:
    path = written(tmp_path, *lines)
    with pytest.raises(ValueError, match="toy") as error:
        read_conllu(path)
    assert str(error.value).startswith(f"{path}:{line}: {what}")
    assert "\n" not in str(error.value)


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.conllu"
    path.write_bytes(A.encode() + b"\n2\tcaf\xe9\t_\n")
    with pytest.raises(ValueError, match=r"latin\.conllu:2: not UTF-8: byte 0xe9$"):
        read_conllu(path)


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("cut", [False, True])
def test_damaged_packed_files(tmp_path: Path, suffix: str, cut: bool) -> None:
    path = tmp_path / f"toy.conllu{suffix}"
    packed = (gzip if suffix == ".gz" else lzma).compress(A.encode())
    path.write_bytes(packed[:-10] if cut else A.encode())
    with pytest.raises(ValueError, match=rf"{suffix}:1: cannot be decompressed as \{suffix}"):
        read_conllu(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gone.conllu: no such file"):
        read_conllu(tmp_path / "gone.conllu")


INVISIBLE = [
    " ",
    "\u00a0",
    "\u2009",
    "\u3000",
    "\u2028",
    "\x0b",
    "\x1f",
    "\x7f",
    "\u200b",
    "\u00ad",
    "\ufeff",
    "\u202e",
    "\u034f",
    "\u115f",
    "\u17b4",
    "\u2800",
    "\u3164",
    "\ufe0f",
    "\uffa0",
    "\U000e0100",
]


@pytest.mark.parametrize("invisible", INVISIBLE, ids=[f"U+{ord(each):04X}" for each in INVISIBLE])
@pytest.mark.parametrize(("column", "name"), [(3, "UPOS"), (4, "XPOS"), (5, "FEATS")])
def test_tags_that_look_alike_are_refused(tmp_path: Path, invisible: str, column: int, name: str) -> None:
    for text in (f"N{invisible}", f"{invisible}N", f"N{invisible}N", f"_{invisible}", invisible):
        for written_as in (text,) if name != "FEATS" else (f"A={text}", f"{text}=1"):
            path = written(tmp_path, A, "\t".join([*B.split("\t")[:column], written_as, *B.split("\t")[column + 1 :]]))
            with pytest.raises(ValueError, match="toy") as error:
                read_conllu(path)
            assert str(error.value).startswith(f"{path}:2: {name} must not contain white space or invisible characters")
            assert len(str(error.value).splitlines()) == 1


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"]), max_size=6))
def test_a_tag_is_read_as_it_was_written_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.conllu"
    path.write_text("\n".join([A, row("2", "b", text, f"F={text}", xpos=text)]) + "\n", encoding="utf-8")
    if text == "" or "|" in text or not text.isprintable() or any(map(str.isspace, text)):
        with pytest.raises(ValueError, match=":2: "):
            read_conllu(path)
    else:
        word = read_conllu(path).sentences[0].words[1]
        assert word.feats == {"F": text}
        assert (word.upos, word.xpos) == ((None, None) if text == "_" else (text, text))


def test_space_after_is_found_whatever_stands_around_it(tmp_path: Path) -> None:
    path = written(tmp_path, row("1", "a", misc="X=1| SpaceAfter=No "), row("2", "b"))
    assert read_conllu(path).sentences[0].text == "ab"
