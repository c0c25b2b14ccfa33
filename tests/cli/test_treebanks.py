"""The command treebanks, and runs on treebanks by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from user import QUICK, Command, Place


def test_treebanks_of_a_language_are_listed(call: Command) -> None:
    by_code, by_name = call("treebanks", "--language", "ja"), call("treebanks", "--language", "JAPANESE")
    assert (by_code.status, by_code.err, by_code.out) == (0, "", by_name.out)
    head, *rows, note = by_code.out.splitlines()
    assert head.split() == ["treebank", "language", "code", "script", "sentences", "words", "licence"]
    gsd = next(row for row in rows if row.startswith("UD_Japanese-GSD "))
    assert gsd.split() == ["UD_Japanese-GSD", "Japanese", "ja_gsd", "Jpan", "8,100", "193,654", "CC", "BY-SA", "4.0"]
    assert all(row.startswith("UD_Japanese-") for row in rows)
    assert note.startswith(f"{len(rows)} treebanks of release 2.16")


def test_all_treebanks_are_listed(call: Command) -> None:
    assert len(call("treebanks").out.splitlines()) == 319 + 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["treebanks", "--language", "Klingon"], "there is no treebank of 'Klingon'; the languages are ab, abq,"),
        (["dataset=ud"], "dataset.treebank"),
        (["dataset=ud", "dataset.treebank=UD_Frensh-GSD"], "did you mean UD_French-GSD"),
        (["dataset=ud_english_ewt", "dataset.release=latest"], "dataset.release"),
        (["dataset=ud_english_ewt", "dataset.mirror=ftp://host"], "dataset.mirror: should be an address such as https"),
    ],
)
def test_mistakes_are_told_in_one_line(call: Command, arguments: list[str], told: str) -> None:
    ended = call(*arguments)
    assert ended.status == 1
    assert ended.error.startswith("keyneurons: error: ")
    assert told in ended.error


def test_a_treebank_with_one_file_is_split_and_it_is_said(call: Command, place: Place, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tr_pud-ud-test.conllu").write_bytes(place.treebank.read_bytes())
    model = [each for each in place.small if not each.startswith("dataset")]
    data = ["dataset=ud", "dataset.treebank=UD_Turkish-PUD", "dataset.folder=data"]
    ended = call(*model, *QUICK, *data)
    assert (ended.status, ended.err) == (0, "")
    assert "ud_turkish_pud has only a test file: its sentences were split at random" in ended.out
    [folder] = Path("outputs").glob("*/*")
    refused = call("inspect", str(folder), "--tag", "NOUN", "dataset.test=data")  # a treebank, no place of a file
    assert "dataset.test does not apply to this run: its dataset.source is ud" in refused.error
