"""A command that is refused before its run starts leaves neither folders nor a store."""

from __future__ import annotations

from pathlib import Path

import pytest
from user import Command, Place, output_folders, runs_in

import keyneurons
from keyneurons.runs.refused import removed_if_refused


@pytest.mark.parametrize(
    "arguments",
    [
        ["layr=3"],
        ["layer=99"],
        ["dataset.file=none.conllu"],
        ["-m", "top_k=2,-1"],
        ["-m", "layer=1,99"],
        ["-m", "selection=corelation,lape"],
        ["-m", "dataset.file=none.conllu,more.conllu"],
        ["-m", "resume=none"],
        ["agreement", "selection=[correlation,lape]", "layer=99"],
        ["agreement", "selection=[correlation,corelation]"],
        ["agreement", "selection=[correlation,lape]", "dataset.file=none.conllu"],
        ["extract", "layer=99"],
        ["plan", "layer=99"],
        ["tracking.uri=mlruns"],
        ["tracking.uri=sqlite:////proc/none/mlflow.db"],
        ["--config-dir", "none", "top_k=2"],
        ["hydra.run.dir=mine/new", "layer=99"],
    ],
    ids=" ".join,
)
def test_nothing_is_left(call: Command, place: Place, tmp_path: Path, arguments: list[str]) -> None:
    command = arguments[:1] if arguments[0] in {"agreement", "extract", "plan", "-m"} else []
    ended = call(*command, *place.small, *arguments[len(command) :])
    assert ended.status == 1
    assert ended.error.startswith("keyneurons: error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "a", "b"],
        ["compare", "sweep=x"],
        ["inspect", "x", "--tag", "NOUN"],
        ["publish", "x", "y"],
        ["pull", "x"],
        ["log", "x"],
    ],
    ids=" ".join,
)
def test_commands_on_runs_leave_no_store(call: Command, tmp_path: Path, arguments: list[str]) -> None:
    assert call(*arguments).status == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_existed_keeps_its_files(call: Command, place: Place, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("mine")
    assert call(*place.small, "hydra.run.dir=mine", "layer=99").status == 1
    assert (tmp_path / "mine" / "config.yaml").read_text() == "mine"


def test_a_run_beside_a_refused_one_stays(call: Command, place: Place, tmp_path: Path) -> None:
    assert call(*place.small).status == 0
    assert call(*place.small, "layer=99").status == 1
    [folder] = output_folders(tmp_path)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_run_that_started_keeps_its_folder_with_the_log(call: Command, place: Place, tmp_path: Path) -> None:
    assert call(*place.small, "dataset.tags=[NUON]").status == 1
    [folder], [run] = output_folders(tmp_path), runs_in(tmp_path)
    assert "Traceback" in (folder / "keyneurons.log").read_text("utf-8")
    assert run.info.status == "FAILED"


def test_python_leaves_nothing_either(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for override in ("layr=3", "layer=99", "dataset.file=none.conllu", "tracking.uri=sqlite:////proc/none/mlflow.db"):
        with pytest.raises(keyneurons.UsageError):
            keyneurons.run(*place.small, override)
        assert list(tmp_path.iterdir()) == [], override


@pytest.mark.parametrize(
    ("files", "error", "kept"),
    [
        ({}, KeyboardInterrupt(), False),
        ({"run.json": "{}"}, ValueError(), False),
        ({"run.json": "{}"}, RuntimeError(), True),
        ({"run.json": "{}"}, KeyboardInterrupt(), True),
        ({"run.json": '{"run_id": "0"}'}, ValueError(), True),
        ({"run.json": "{}", "metrics.json": "{}"}, OSError(), True),
        ({"run.json": "{"}, ValueError(), True),
    ],
)
def test_which_folders_are_removed(tmp_path: Path, files: dict[str, str], error: BaseException, kept: bool) -> None:
    folder = tmp_path / "outputs" / "day" / "run"

    def run() -> None:
        with removed_if_refused(folder):
            folder.mkdir(parents=True)
            for name, text in files.items():
                (folder / name).write_text(text)
            raise error

    with pytest.raises(type(error)):
        run()
    assert folder.exists() == kept
    assert (tmp_path / "outputs").exists() == kept
