"""Tags, names and words with special characters: displayed verbatim or rejected at the start."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from user import QUICK, Command, Place, client_of, output_folders, runs_in

pytestmark = pytest.mark.figures

ODD = {"NOUN": "[red]$^$", "VERB": "<b>a|b</b>", "DET": ":x:/", "PRON": "名詞-一般"}


def retagged(place: Place, path: Path, tags: dict[str, str], column: int = 4, more: str = "") -> Path:
    """The treebank with different tags in a column."""
    rows = []
    for line in place.treebank.read_text("utf-8").split("\n"):
        columns = line.split("\t")
        if len(columns) == 10:
            columns[column] = tags.get(columns[3], columns[3])
        rows.append("\t".join(columns))
    path.write_text("\n".join(rows) + more, encoding="utf-8")
    return path


def test_tags_of_any_text_are_shown_as_they_are_written(call: Command, place: Place, tmp_path: Path) -> None:
    file = retagged(place, tmp_path / "odd.conllu", ODD)
    data = [f"dataset.file={file}", "dataset.tag_column=xpos", "dataset.id='a|<i>b</i>'"]
    ended = call(*place.small, *QUICK, *data, "reliability.halves=1", "layer=[1,2]")
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    for tag in ODD.values():
        assert any(line.startswith(f"{tag} ") for line in lines)
    assert any(line.startswith("a|<i>b</i>: ") for line in lines)
    [folder] = output_folders(tmp_path)
    assert set(json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"]) == set(ODD.values())
    with (folder / "confusion.csv").open(encoding="utf-8", newline="") as written:
        assert set(next(csv.reader(written))[1:]) == set(ODD.values())
    [run] = runs_in(tmp_path)
    assert len([name for name in run.data.metrics if name.startswith("per_tag/f1/")]) == len(ODD)
    for text in ((folder / "summary.md").read_text("utf-8"), run.data.tags["mlflow.note.content"]):
        assert not re.search(r"<[a-z/]", text)
        assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {5, 6, 9}
    figures = {str(path.relative_to(folder)) for path in folder.rglob("*.png")}
    assert figures >= {
        "overlap.png", "per_tag_f1.png", "figures/confusion.png", "figures/stability.png", "figures/layers.png",
    }  # fmt: skip


def test_a_terminal_without_the_characters_loses_nothing(command: Command, place: Place, tmp_path: Path) -> None:
    file = retagged(place, tmp_path / "odd.conllu", ODD)
    arguments = [*place.small, *QUICK, f"dataset.file={file}", "dataset.tag_column=xpos"]
    ended = command(tmp_path / "here", *arguments, PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (ended.status, ended.err) == (0, "")
    assert "\\u540d\\u8a5e-\\u4e00\\u822c" in ended.out
    assert ended.out.rstrip().endswith("keyneurons ui")


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"NOUN": "n" * 300}, "the tag 'nnn"),
        ({"NOUN": "N", "VERB": "N "}, "XPOS must not contain white space or invisible characters, got 'N '"),
        ({"NOUN": "N\u200b"}, r"got 'N\u200b'"),
    ],
)
def test_tags_that_cannot_be_kept_are_refused_first(
    call: Command, place: Place, tmp_path: Path, tags: dict[str, str], told: str
) -> None:
    file = retagged(place, tmp_path / "odd.conllu", tags)
    ended = call(*place.small, *QUICK, f"dataset.file={file}", "dataset.tag_column=xpos")
    assert ended.status == 1
    assert told in ended.error
    assert len(ended.error) < 400
    [folder] = output_folders(tmp_path)
    assert {path.name for path in folder.iterdir()} <= {"config.yaml", "keyneurons.log", "run.json", ".hydra"}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("dataset.tags=[1,2,3]", "\"dataset.tags=['1','2','3']\""),
        ("dataset.tags=[A,null,true,1e3]", "as in the treebank: \"dataset.tags=['A','...','...','...']\""),
        ("dataset.tags=[NOUN,1]", "\"dataset.tags=['NOUN','1']\""),
        ("dataset.tag_column=1", "\"dataset.tag_column='1'\""),
        ("dataset.id=2024", "\"dataset.id='2024'\""),
        ("dataset.id=''", "dataset.id: should be one line of 1 to 500 printable characters, got ''"),
        ("dataset.id='  '", "1 to 500"),
        (f"dataset.id={'x' * 501}", "1 to 500"),
        ('dataset.id="a\tb"', "1 to 500"),
        (f"tracking.experiment={'x' * 257}", "1 to 256"),
        ("tracking.experiment=''", "tracking.experiment: should be one line of 1 to 256"),
        ("dataset.unreadable_words=skip", "'error' or 'drop'"),
    ],
)
def test_names_and_tags_of_the_configuration(call: Command, place: Place, override: str, told: str) -> None:
    ended = call(*place.data, override)
    assert ended.status == 1
    assert told in ended.error
    assert len(ended.error) < 400
    assert not Path("mlruns").exists()


def test_quoted_tags_are_the_tags(call: Command, place: Place, tmp_path: Path) -> None:
    file = retagged(place, tmp_path / "odd.conllu", {"NOUN": "1", "VERB": "02", "DET": "null"})
    ended = call(
        *place.small, *QUICK, f"dataset.file={file}", "dataset.tag_column=xpos", "dataset.tags=['1','02','null']"
    )
    assert (ended.status, ended.err) == (0, "")
    [folder] = output_folders(tmp_path)
    assert list(json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"]) == ["02", "1", "null"]


def test_unreadable_words_are_refused_or_left_out_and_counted(call: Command, place: Place, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, normalizers

    model = tmp_path / "model"
    model.mkdir()
    for path in place.llama.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.normalizer = normalizers.Replace("\u00ad", "")
    tokenizer.save(str(model / "tokenizer.json"))
    rows = "".join(
        f"{i}\t{form}\t_\t{tag}\t_\t_\t_\t_\t_\t_\n" for i, form, tag in [(1, "the", "DET"), (2, "\u00ad", "NOUN")]
    )
    file = retagged(
        place, tmp_path / "t.conllu", {}, more=f"# sent_id = odd\n{rows}\n1\t\u00ad\t_\tNOUN\t_\t_\t_\t_\t_\t_\n\n"
    )
    run = [*place.small, *QUICK, f"model.folder={model}", f"dataset.file={file}"]
    refused = call(*run)
    assert refused.status == 1
    assert re.search(
        r"sentence (odd|t\.conllu:\d+): no token .* the word '\\xad'; dataset\.unreadable_words=drop", refused.error
    )
    ended = call(*run, "dataset.unreadable_words=drop", "read_at=prediction", "reliability.confounds=true")
    assert (ended.status, ended.err) == (0, "")
    assert "2 unreadable words dropped (no token in the tokenizer)" in ended.out
    folder = output_folders(tmp_path)[-1]
    assert json.loads((folder / "metrics.json").read_text("utf-8"))["data/unreadable_dropped"] == 2
    assert client_of(tmp_path).search_runs(["1"])[0].data.params["dataset.unreadable_words"] == "drop"
    shown = call("inspect", str(folder), "--tag", "NOUN")
    assert (shown.status, shown.err) == (0, "")
    planned = call("plan", *run, "dataset.unreadable_words=drop")
    assert (planned.status, planned.err) == (0, "")
