"""The command ``steer`` measures texts of a run's model, or ends with one line and nothing."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from user import QUICK, Command, Place, artifacts_of, client_of, output_folders, runs_in

from keyneurons.artifacts.steering import read_steering

FEW = ["--sets", "3", "--new-tokens", "4", "--seeds", "1", "--prompts", "prompts.txt", "--pairs", "pairs.csv"]


@pytest.fixture(scope="module")
def folder(here: Command, place: Place, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("steer")
    ended = here(folder, *place.whole, *QUICK)
    assert ended.status == 0, ended.err
    (folder / "prompts.txt").write_text("the dog\nshe sees\n", encoding="utf-8")
    (folder / "blank.txt").write_text("\n", encoding="utf-8")
    (folder / "pairs.csv").write_text("sentence_good,sentence_bad\nthe dog runs,dog the runs\nhe sees,sees he\n")
    return folder


def test_measures_by_factor_are_written_printed_and_logged(here: Command, folder: Path) -> None:
    (run,) = runs_in(folder)
    ended = here(folder, "steer", run.info.run_id, "--tag", "NOUN", "--factor", "0,1,2.5", *FEW, "--out", "steered")
    assert ended.status == 0, ended.err
    assert "Steering NOUN: 3 key neurons, 2 prompts x 1 seed" in ended.out
    assert "with 3 sets, p is at least 0.250" in ended.out
    facts = read_steering(folder / "steered" / "steering.json")
    assert (facts.tag, facts.embedding, facts.pairs, facts.between) == ("NOUN", "residual.2", 2, {})
    assert [dose.factor for dose in facts.doses] == [0, 1, 2.5]
    assert facts.doses[1].measures["share"].key == facts.intact["share"]
    assert facts.doses[1].measures["distance"].sets.value == 0
    names = list(facts.intact)
    assert names == ["share", "known", "bits", "distance", "drift", "pair_accuracy"]
    with (folder / "steered" / "steering.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["measure"], row["factor"]) for row in rows[:4]] == [(names[0], f) for f in ("0.0", "1.0", "2.5")] + [
        (names[1], "0.0")
    ]
    with (folder / "steered" / "steering_texts.csv").open(encoding="utf-8", newline="") as file:
        texts = list(csv.DictReader(file))
    assert len(texts) == 2 * (1 + 2 * 4)  # the intact model; two factors of the key neurons and three sets
    assert {text["neurons"] for text in texts} == {"intact", "key", "set 1", "set 2", "set 3"}
    assert (folder / "steered" / "steering.png").is_file()

    child = next(each for each in runs_in(folder) if each.data.tags.get("mlflow.parentRunId") == run.info.run_id)
    assert (child.info.status, child.info.run_name) == ("FINISHED", "steer NOUN")
    history = client_of(folder).get_metric_history(child.info.run_id, "steer/NOUN/random/bits")
    assert sorted((point.step, point.value) for point in history) == [
        (step, dose.measures["bits"].sets.value) for step, dose in zip((0, 1000, 2500), facts.doses, strict=True)
    ]
    assert child.data.params["factors"] == "0,1,2.5"
    assert (artifacts_of(child) / "steering.json").is_file()


def test_matched_families_and_a_folder_without_a_store(here: Command, folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(output_folders(folder)[0], tmp_path / "run")
    arguments = ["--tag", "VERB", "--factor=-1", *FEW, "--pairs", "none", "--family", "variance", "--temperature", "0"]
    ended = here(folder, "steer", str(copy), *arguments, f"tracking.uri=sqlite:///{tmp_path}/none.db")
    assert ended.status == 0, ended.err
    assert "Not in MLflow: " in ended.out
    (written,) = (folder / "outputs").glob("*/*-steer/steering.json")
    assert read_steering(written).family == "variance"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--tag", "ADJ", "--factor", "0"], "has no tag 'ADJ'; it has DET, NOUN, PRON, VERB"),
        (["--tag", "DET", "--factor", "0,two"], "must be numbers separated by commas, got '0,two'"),
        (["--tag", "DET", "--factor", "0,nan"], "factors must be numbers from -1,000,000 to 1,000,000, got nan"),
        (["--tag", "DET", "--factor", "0,1,0"], "factors must differ by at least 0.001, got 0, 1, 0"),
        (["--tag", "DET", "--factor", "0", "--out", "outputs"], "outputs exists; choose a new or an empty folder"),
        (["--tag", "DET", "--factor", "0", "--prompts", "blank.txt"], "blank.txt has no prompts: all lines are blank"),
        (["--tag", "DET", "--factor", "0", "--prompts", "nowhere"], "nowhere: no such file; prompts are one of"),
        (["--tag", "DET", "--factor", "0", "--sets", "1"], "--sets must be at least 2, for intervals, got 1"),
        (["--tag", "DET", "--factor", "0", "--family", "lowest"], "invalid choice: 'lowest'"),
        (["--tag", "DET", "--factor", "0", "--temperature", "0", "--seeds", "2"], "of 2 seeds are the same"),
        (["--tag", "DET", "--factor", "0", "--temperature", "-1"], "must be a number of at least 0, got '-1'"),
        (["--tag", "DET", "--factor", "0", "--new-tokens", "5000"], "with 5000 new ones they exceed the 512 of"),
        (["--tag", "DET", "--factor", "0", "top_k=4"], "overrides must be of tracking."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_one_line_and_nothing_written(here: Command, folder: Path, arguments: list[str], reason: str) -> None:
    before = set(folder.rglob("*"))
    ended = here(folder, "steer", str(output_folders(folder)[0]), *arguments)
    assert ended.status == 1
    assert reason in ended.error
    assert set(folder.rglob("*")) == before


def test_a_tag_without_key_neurons(here: Command, folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(output_folders(folder)[0], tmp_path / "run")
    text = (copy / "key_neurons.json").read_text("utf-8")
    start = text.index('"DET": [') + len('"DET": [')
    (copy / "key_neurons.json").write_text(text[:start] + text[text.index("]", start) :], encoding="utf-8")
    ended = here(folder, "steer", str(copy), "--tag", "DET", "--factor", "0")
    assert "tag DET has no key neurons in run" in ended.error


def test_a_masked_language_model(here: Command, place: Place, tmp_path: Path) -> None:
    bert = [f"model.folder={place.bert}" if each.startswith("model.folder") else each for each in place.whole]
    assert here(tmp_path, *bert, *QUICK).status == 0
    ended = here(tmp_path, "steer", str(output_folders(tmp_path)[0]), "--tag", "NOUN", "--factor", "0")
    assert ended.error.endswith("(bert) does not predict the next token")
