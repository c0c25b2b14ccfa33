"""CoNLL-U sources: three files, and one file that is split."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyneurons.data.sources import ConlluFiles, TreebankSource
from keyneurons.records import SPLITS


def written(path: Path, *forms: str) -> Path:
    path.write_text("".join(f"1\t{form}\t_\tX\t_\t_\t_\t_\t_\t_\n\n" for form in forms), encoding="utf-8")
    return path


def test_three_files(tmp_path: Path) -> None:
    files = {split: written(tmp_path / f"{split}.conllu", split, "b") for split in SPLITS}
    source: TreebankSource = ConlluFiles("mine", files["train"], files["dev"], files["test"])
    bank = source.load()
    assert bank.id == "mine"
    assert {split: [s.text for s in bank.splits[split]] for split in SPLITS} == {s: [s, "b"] for s in SPLITS}


def test_one_file_is_split_by_the_seed(tmp_path: Path) -> None:
    file = written(tmp_path / "all.conllu", *(f"w{i:02}" for i in range(40)))
    one, same, other = (ConlluFiles(id="mine", file=file, seed=seed).load() for seed in (1, 1, 2))
    assert one == same != other
    assert [len(one.splits[split]) for split in SPLITS] == [28, 6, 6]


@pytest.mark.parametrize(
    ("names", "got"),
    [
        ("", "none of them"),
        ("train test", "train, test"),
        ("train dev test file", "train, dev, test, file"),
    ],
)
def test_anything_else_says_both_ways(names: str, got: str) -> None:
    train, dev, test, file = (Path("x") if name in names.split() else None for name in (*SPLITS, "file"))
    with pytest.raises(ValueError, match=rf"train, dev and test \(three files\), or file \(one .*; got {got}"):
        ConlluFiles("mine", train, dev, test, file)
