"""Scores shared by the jobs of a sweep: computed once per process, not copied to others."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from user import QUICK, Command, Place, runs_in

from keyneurons.cli.task import Task

MODULE = """
from dataclasses import dataclass

import torch


class Counted:
    def __call__(self, values, tags, n_tags):
        with open("scored", "a") as file:
            file.write("once\\n")
        return torch.stack([values[tags == tag].double().mean(0) for tag in range(n_tags)])


@dataclass(frozen=True)
class Kept(Counted):
    sign: int = 1
"""


@pytest.fixture
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with methods that count their calls."""
    folder = tmp_path_factory.mktemp("counting")
    (folder / "countedmethods.py").write_text(MODULE, encoding="utf-8")
    return folder


def times_scored(folder: Path) -> int:
    return len((folder / "scored").read_text("utf-8").splitlines())


@pytest.mark.parametrize(("method", "times"), [("Kept", 1), ("Counted", 2)])
def test_jobs_in_one_process_score_once(
    call: Command, place: Place, code: Path, monkeypatch: pytest.MonkeyPatch, method: str, times: int
) -> None:
    monkeypatch.syspath_prepend(str(code))
    given = [*place.small, *QUICK, f"selection._target_=countedmethods.{method}"]
    ended = call("-m", *given, "top_k=2,3")
    assert ended.status == 0, ended.err
    assert len(runs_in(Path.cwd())) == 3
    assert times_scored(Path.cwd()) == times
    assert call(*given).status == 0  # the calls of a single run, for comparison
    assert times_scored(Path.cwd()) == times + 1


@pytest.mark.long
@pytest.mark.slow
def test_jobs_in_processes_of_their_own_score_each(command: Command, place: Place, code: Path, tmp_path: Path) -> None:
    paths = os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])])
    given = [*place.small, *QUICK, "selection._target_=countedmethods.Kept", "hydra/launcher=joblib"]
    ended = command(tmp_path, "-m", *given, "top_k=2,3", "hydra.launcher.n_jobs=2", PYTHONPATH=paths)
    assert ended.status == 0, ended.err
    assert times_scored(tmp_path) == 2


def test_a_task_for_another_process_has_an_empty_memo() -> None:
    task = Task(None)
    assert task.memo.get("key", lambda: 1) == task.memo.get("key", lambda: 2) == 1
    copy = pickle.loads(pickle.dumps(task))
    assert (task.memo.n_results, copy.memo.n_results) == (1, 0)
    assert copy.memo.get("key", lambda: 2) == 2
