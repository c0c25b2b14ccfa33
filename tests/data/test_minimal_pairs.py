"""Minimal pairs: reading of valid and broken files, and properties of the packaged pairs."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from keyneurons.data.minimal_pairs import MinimalPair, packaged_minimal_pairs, read_minimal_pairs

HEADER = "sentence_good,sentence_bad,phenomenon,tag"
ROW = "Dogs bark.,Dogs barks.,agreement,VERB"
# The fields of BLiMP's own files, in order.
BLIMP = {
    "sentence_good": "Dogs bark.",
    "sentence_bad": "Dogs barks.",
    "field": "morphology",
    "linguistics_term": "subject_verb_agreement",
    "UID": "regular_plural_subject_verb_agreement_1",
    "simple_LM_method": True,
    "one_prefix_method": False,
    "lexically_identical": False,
    "pairID": "0",
}
TAGS = {"ADJ", "ADP", "ADV", "AUX", "DET", "NOUN", "PART", "PRON", "SCONJ", "VERB"}
MIN_PAIRS, MIN_PHENOMENA, MIN_PAIRS_EACH = 240, 12, 20


def written(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def bag(sentence: str) -> Counter[str]:
    """The lower-cased words of a sentence without surrounding punctuation."""
    return Counter(word.strip(".,?").lower() for word in sentence.split())


@pytest.fixture(scope="module")
def pairs() -> tuple[MinimalPair, ...]:
    return packaged_minimal_pairs()


def test_pairs_keep_the_order_of_a_csv_file(tmp_path: Path) -> None:
    path = written(tmp_path, "toy.csv", HEADER, ROW, "", '"If so, I go.","If so, me go.",case,PRON')
    assert read_minimal_pairs(path) == (
        MinimalPair("Dogs bark.", "Dogs barks.", "agreement"),
        MinimalPair("If so, I go.", "If so, me go.", "case"),
    )


@pytest.mark.parametrize(
    ("names", "phenomenon"),
    [
        ("linguistics_term,UID,phenomenon", "c"),
        ("linguistics_term,UID,field", "b"),
        ("field,linguistics_term,tag", "b"),
        ("field,pairID,tag", "all"),
    ],
)
def test_first_name_of_the_phenomenon_wins(tmp_path: Path, names: str, phenomenon: str) -> None:
    path = written(tmp_path, "toy.csv", f"{names},sentence_bad,sentence_good", "a,b,c,It are.,It is.")
    assert read_minimal_pairs(path) == (MinimalPair("It is.", "It are.", phenomenon),)


def test_json_lines_of_blimp(tmp_path: Path) -> None:
    second = {"sentence_good": "Él is.", "sentence_bad": "Él are.", "linguistics_term": "agreement"}
    third = {"sentence_good": "She is.", "sentence_bad": "She are."}
    lines = [json.dumps(BLIMP), json.dumps(second, ensure_ascii=False), "", json.dumps(third)]
    path = written(tmp_path, "toy.jsonl", *lines)
    assert read_minimal_pairs(path) == (
        MinimalPair("Dogs bark.", "Dogs barks.", "regular_plural_subject_verb_agreement_1"),
        MinimalPair("Él is.", "Él are.", "agreement"),
        MinimalPair("She is.", "She are.", "all"),
    )


@pytest.mark.parametrize(("name", "text"), [("toy.csv", f"{HEADER}\n{ROW}"), ("toy.jsonl", json.dumps(BLIMP))])
def test_byte_order_mark_line_ends_and_packing_make_no_difference(tmp_path: Path, name: str, text: str) -> None:
    plain, marked, packed = (tmp_path / folder / name for folder in ("plain", "marked", "packed"))
    packed = packed.with_name(f"{name}.gz")
    marked_bytes = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n"
    for path, data in ((plain, text.encode()), (marked, marked_bytes), (packed, gzip.compress(text.encode()))):
        path.parent.mkdir()
        path.write_bytes(data)
    assert read_minimal_pairs(plain) == read_minimal_pairs(marked) == read_minimal_pairs(packed)
    assert len(read_minimal_pairs(plain)) == 1


def test_white_space_around_a_sentence_is_no_part_of_it(tmp_path: Path) -> None:
    path = written(tmp_path, "toy.csv", HEADER, " Dogs bark. ,\tDogs barks., agreement,VERB")
    assert read_minimal_pairs(path) == (MinimalPair("Dogs bark.", "Dogs barks.", "agreement"),)


FILLED = json.dumps(BLIMP)
MALFORMED = {
    "missing column": (
        "toy.csv",
        ("sentence_good,bad", "a,b"),
        1,
        "no field sentence_bad; the fields are 'sentence_good', 'bad'",
    ),
    "no header": ("toy.csv", (ROW,), 1, "no field sentence_good and sentence_bad; the fields are 'Dogs bark.'"),
    "column twice": (
        "toy.csv",
        (f"{HEADER},tag,phenomenon", f"{ROW},a,b"),
        1,
        "the field phenomenon occurs twice",
    ),
    "empty good": ("toy.csv", (HEADER, ROW, ",Dogs barks.,agreement,VERB"), 3, "sentence_good is empty"),
    "blank bad": ("toy.csv", (HEADER, ROW, "", "Dogs bark., ,agreement,VERB"), 4, "sentence_bad is empty"),
    "empty phenomenon": ("toy.csv", (HEADER, "Dogs bark.,Dogs barks.,,VERB"), 2, "phenomenon is empty"),
    "equal": ("toy.csv", (HEADER, ROW, "Dogs bark.,Dogs bark. ,x,VERB"), 3, "both sentences are 'Dogs bark.'"),
    "comma not quoted": ("toy.csv", (HEADER, f"So, {ROW}"), 2, "expected 4 columns as in the header, got 5"),
    "short row": ("toy.csv", (HEADER, "Dogs bark.,Dogs barks."), 2, "expected 4 columns as in the header, got 2"),
    "quote after a long field": ("toy.csv", (HEADER, '"a\nb",c,x,y', ROW + ",z"), 4, "expected 4 columns"),
    "open quote": ("toy.csv", (HEADER, ROW, '"Dogs bark.,Dogs barks.,x,VERB', ROW), 3, "broken CSV: "),
    "text after quote": ("toy.csv", (HEADER, '"Dogs" bark.,Dogs barks.,x,VERB'), 2, "broken CSV: "),
    "header alone": ("toy.csv", (HEADER,), 1, "the file has no pairs"),
    "empty": ("toy.csv", ("",), 1, "the file has no pairs"),
    "empty lines": ("toy.jsonl", ("", ""), 1, "the file has no pairs"),
    "broken JSON": ("toy.jsonl", (FILLED, FILLED[:-1]), 2, "broken JSON: Expecting ',' delimiter at column "),
    "JSON over lines": ("toy.jsonl", ("[", FILLED, "]"), 1, "broken JSON: Expecting value at column "),
    "no object": (
        "toy.jsonl",
        (f"[{FILLED}]",),
        1,
        "expected a JSON object with sentence_good, got [",
    ),
    "no field": (
        "toy.jsonl",
        (FILLED, "", '{"sentence_bad": "a"}'),
        3,
        "no field sentence_good; the fields are",
    ),
    "no string": (
        "toy.jsonl",
        (json.dumps(BLIMP | {"sentence_bad": None}),),
        1,
        "sentence_bad must be a string, got None",
    ),
    "number": ("toy.jsonl", (json.dumps(BLIMP | {"UID": 3}),), 1, "UID must be a string, got 3"),
    "empty in JSON": ("toy.jsonl", (json.dumps(BLIMP | {"sentence_good": ""}),), 1, "sentence_good is empty"),
    "equal in JSON": (
        "toy.jsonl",
        (json.dumps(BLIMP | {"sentence_bad": "Dogs bark."}),),
        1,
        "both sentences are",
    ),
}


@pytest.mark.parametrize(("name", "lines", "line", "what"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_files_are_one_line_with_file_and_line(
    tmp_path: Path, name: str, lines: tuple[str, ...], line: int, what: str
) -> None:
    path = written(tmp_path, name, *lines)
    with pytest.raises(ValueError, match="toy") as error:
        read_minimal_pairs(path)
    assert str(error.value).startswith(f"{path}:{line}: {what}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["latin.csv", "latin.jsonl"])
def test_bytes_that_are_not_utf8(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(f"{HEADER}\n".encode() + b"\xc9l is.,\xc9l are.,x,AUX\n")
    with pytest.raises(ValueError, match=r"latin\.(csv|jsonl):2: not UTF-8: byte 0xc9$"):
        read_minimal_pairs(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.csv: no such file or folder; minimal pairs are packaged, or"):
        read_minimal_pairs(tmp_path / "gone.csv")


def test_package_has_enough_pairs_of_enough_phenomena(pairs: tuple[MinimalPair, ...]) -> None:
    counts = Counter(pair.phenomenon for pair in pairs)
    assert len(pairs) >= MIN_PAIRS
    assert len(counts) >= MIN_PHENOMENA
    assert min(counts.values()) >= MIN_PAIRS_EACH
    assert len(set(counts.values())) == 1


def test_no_sentence_of_the_package_stands_twice_or_on_both_sides(pairs: tuple[MinimalPair, ...]) -> None:
    sentences = Counter(sentence.lower() for pair in pairs for sentence in (pair.good, pair.bad))
    assert sentences.most_common(1)[0][1] == 1


def test_pairs_of_the_package_differ_in_little(pairs: tuple[MinimalPair, ...]) -> None:
    for pair in pairs:
        good, bad = pair.good.split(), pair.bad.split()
        shared = (bag(pair.good) & bag(pair.bad)).total()
        assert good != bad
        assert abs(len(good) - len(bad)) <= 1, pair
        assert shared >= 0.6 * max(len(good), len(bad)), pair


def test_sentences_of_the_package_look_like_sentences(pairs: tuple[MinimalPair, ...]) -> None:
    for pair in pairs:
        assert 4 <= len(pair.good.split()) <= 12, pair
        assert pair.good[-1] == pair.bad[-1], pair
        for sentence in (pair.good, pair.bad):
            assert sentence[0].isupper(), pair
            assert sentence[-1] in ".?", pair
            assert '"' not in sentence, pair
            assert sentence == " ".join(sentence.split()), pair
            assert sentence.isascii(), pair


def test_neither_side_of_the_package_is_always_the_longer_one(pairs: tuple[MinimalPair, ...]) -> None:
    """Preferring the sentence with fewer (or more) words scores near chance on the whole file."""
    longer = sum(len(pair.bad.split()) > len(pair.good.split()) for pair in pairs)
    shorter = sum(len(pair.bad.split()) < len(pair.good.split()) for pair in pairs)
    assert longer + shorter <= 0.1 * len(pairs)
    assert abs(longer - shorter) <= 5


def test_file_of_the_package_names_the_tag_of_every_pair(pairs: tuple[MinimalPair, ...]) -> None:
    text = (resources.files("keyneurons.data") / "minimal_pairs.csv").read_text(encoding="utf-8")
    header, *rows = csv.reader(text.splitlines(), strict=True)
    assert header == HEADER.split(",")
    assert [MinimalPair(*row[:3], "eng") for row in rows] == list(pairs)
    assert {row[3] for row in rows} <= TAGS


def test_pairs_of_the_package_are_found_from_another_folder(tmp_path: Path, pairs: tuple[MinimalPair, ...]) -> None:
    code = "from keyneurons.data.minimal_pairs import packaged_minimal_pairs; print(len(packaged_minimal_pairs()))"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(found.stdout) == len(pairs)


# Some fields of MultiBLiMP's own files.
MULTIBLIMP = (
    "sen\tverb\tphenomenon\twrong_sen\nZij loopt.\tloopt\tSV-P\tZij loop.\nWij lopen.\tlopen\tSV-#\tWij loopt.\n"
)


def test_multiblimp_by_folder_file_or_field(tmp_path: Path) -> None:
    (tmp_path / "nld").mkdir()
    (tmp_path / "nld" / "data.tsv").write_text(MULTIBLIMP, encoding="utf-8")
    (tmp_path / "README.md").write_text("not read", encoding="utf-8")
    (tmp_path / "de.tsv").write_text("\tsen\twrong_sen\n0\tSie geht.\tSie gehe.\n", encoding="utf-8")
    line = {"sen": "They go.", "wrong_sen": "They goes.", "phenomenon": "SV-#", "lang": "eng"}
    written(tmp_path, "zz.jsonl", json.dumps(line))
    dutch = (
        MinimalPair("Zij loopt.", "Zij loop.", "SV-P", "nld"),
        MinimalPair("Wij lopen.", "Wij loopt.", "SV-#", "nld"),
    )
    german, english = (
        MinimalPair("Sie geht.", "Sie gehe.", "all", "de"),
        MinimalPair("They go.", "They goes.", "SV-#", "eng"),
    )
    assert read_minimal_pairs(tmp_path) == (german, *dutch, english)
    assert read_minimal_pairs(tmp_path / "nld" / "data.tsv") == dutch
    assert read_minimal_pairs(tmp_path, ("nld", "eng")) == (*dutch, english)
    with pytest.raises(ValueError, match=r": no pairs of the language fra; the languages are de, eng, nld$"):
        read_minimal_pairs(tmp_path, ("de", "fra"))


def test_blimp_has_no_language(tmp_path: Path) -> None:
    path = written(tmp_path, "toy.jsonl", json.dumps(BLIMP))
    assert read_minimal_pairs(path)[0].language == ""
    with pytest.raises(ValueError, match=r"no pairs of the language eng; no field is named lang or language$"):
        read_minimal_pairs(path, ("eng",))
    assert {pair.language for pair in packaged_minimal_pairs(("eng",))} == {"eng"}


def test_a_folder_without_pairs_and_broken_files_in_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r": no \.csv, \.tsv or \.jsonl file in this folder$"):
        read_minimal_pairs(tmp_path)
    path = written(tmp_path, "nld.tsv", "sen\tphenomenon", "a\tb")
    with pytest.raises(ValueError, match=r"nld\.tsv:1: no field wrong_sen; the fields are 'sen', 'phenomenon'$"):
        read_minimal_pairs(tmp_path)
    path.write_text(f"sen\twrong_sen\tphenomenon\na\tb\t{'x' * 81}\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"nld\.tsv:2: phenomenon is longer than 80 characters in the name of a metric$"
    ):
        read_minimal_pairs(tmp_path)
