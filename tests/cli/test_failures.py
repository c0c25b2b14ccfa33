"""Failures of disk and store: one line each, without loss of finished results."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from user import Command, Place, runs_in

from keyneurons.runs import job
from keyneurons.tracking import run as run_module

PARENT = "mlflow.parentRunId"
FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_in_the_middle_of_a_sweep(
    call: Command, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second job cannot write its tables, the third cannot send them; then space is freed."""
    write, send, done = job.write_run_files, run_module.send_folder, []

    def writing(*arguments: Any) -> None:
        done.append("written")
        if len(done) == 2:
            raise FULL
        write(*arguments)

    def sending(client: Any, run_id: str, folder: Path) -> None:
        if len(done) == 3:
            raise sqlite3.OperationalError("database or disk is full")
        send(client, run_id, folder)

    with monkeypatch.context() as full:
        full.setattr(job, "write_run_files", writing)
        full.setattr(run_module, "send_folder", sending_as_mlflow(sending))
        ended = call("-m", *place.small, "top_k=2,3,4")
    assert ended.status == 1
    first, second, last = ended.err.strip().splitlines()
    assert first == "keyneurons: error: #1: [Errno 28] No space left on device"
    assert second.startswith("keyneurons: error: #2: MLflow at sqlite:///")
    assert "database or disk is full; the run's folder is complete, send it later with: " in second
    parent, *children = sorted(runs_in(tmp_path), key=lambda run: PARENT in run.data.tags)
    assert last.endswith(f"resume with: keyneurons -m resume={parent.info.run_id}")
    assert sorted(run.info.status for run in children) == ["FAILED", "FAILED", "FINISHED"]
    resumed = call("-m", f"resume={parent.info.run_id}")
    assert (resumed.status, resumed.err) == (0, "")
    assert resumed.out.startswith("resuming a sweep: 2 of 3 jobs are done\n")
    assert "sent now" in resumed.out
    statuses = {run.info.run_name: run.info.status for run in runs_in(tmp_path) if run.info.status == "FINISHED"}
    assert len(statuses) == 4  # the parent and three jobs


def sending_as_mlflow(send: Any) -> Any:
    """Raise errors as MLflow's store does."""
    from sqlalchemy.exc import OperationalError

    def sending(*arguments: Any) -> None:
        try:
            send(*arguments)
        except sqlite3.OperationalError as error:
            raise OperationalError("INSERT", {}, error) from error

    return sending


@pytest.fixture
def store(call: Command, place: Place, tmp_path: Path) -> Path:
    """A store with one finished run."""
    assert call(*place.small).status == 0
    return tmp_path / "mlruns" / "mlflow.db"


def test_a_store_of_another_version_of_mlflow(here: Command, place: Place, tmp_path: Path, store: Path) -> None:
    moved = tmp_path / "moved"  # MLflow in this process checks every address once
    store = shutil.copytree(store.parent, moved / "mlruns") / store.name
    with sqlite3.connect(store) as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    for arguments in ([*place.small, "top_k=2"], ["compare", "experiment=keyneurons"]):
        ended = here(moved, *arguments)
        assert ended.status == 1
        assert ended.error.startswith(f"keyneurons: error: MLflow at sqlite:///{store}: Detected out-of-date database")


def test_artifacts_that_somebody_has_removed(call: Command, store: Path, tmp_path: Path) -> None:
    [run] = runs_in(tmp_path)
    shutil.rmtree(tmp_path / "mlruns" / "artifacts" / run.info.run_id)
    told = call("inspect", run.info.run_id, "--tag", "NOUN").error
    assert told.startswith(f"keyneurons: error: run {run.info.run_name} ({run.info.run_id}) has no key_neurons.json")


@pytest.mark.parametrize("kind", ["postgresql", "http"])
def test_a_password_is_neither_taken_nor_shown(call: Command, place: Place, tmp_path: Path, kind: str) -> None:
    ended = call(*place.small, "tracking=server", f"tracking.uri={kind}://me:secret@127.0.0.1:9/x")
    assert ended.status == 1
    assert ended.error.startswith("keyneurons: error: tracking.uri: must not hold a password")
    assert ended.error.endswith(f"got '{kind}://me:***@127.0.0.1:9/x'")
    assert list(tmp_path.iterdir()) == []


SECRET = "p4ss-w0rd"


@pytest.mark.parametrize(
    "override",
    [
        f"tracking.uri='http://u:{SECRET}@127.0.0.1:9/x'",
        f"tracking.uri='http://u:a:b@{SECRET}@127.0.0.1:9/x'",
        f"tracking.uri='http://{SECRET}@127.0.0.1:9/x'",
        f"tracking.uri='postgresql://127.0.0.1:9/x?user=me&password={SECRET}'",
        f"tracking.uri=u:{SECRET}@127.0.0.1:9",
        f"+tracking.url='http://u:{SECRET}@127.0.0.1:9/x'",
        f"dataset.id='http://u:{SECRET}@127.0.0.1:9/x'",
        f"tracking.uri='${{oc.env:NOT_THERE,http://u:{SECRET}@h}}'",
        f"hydra.job.name='http://u:{SECRET}@h'",
        f"tracking.uri='http://u:{SECRET}@127.0.0.1:9/x",
        f"trcking.uri='http://u:{SECRET}@127.0.0.1:9/x'",
    ],
)
@pytest.mark.parametrize("command", [[], ["-m", "top_k=2,3"], ["agreement", "selection=[lape,probeless]"], ["plan"]])
def test_no_secret_is_written_or_shown_whatever_runs(
    call: Command, place: Place, tmp_path: Path, command: list[str], override: str
) -> None:
    if override.startswith("hydra") and command and command[0] != "-m":
        return  # other commands write no files of Hydra
    ended = call(*command, *place.small, override)
    assert ended.status == 1
    assert SECRET not in ended.error
    assert [path for path in tmp_path.rglob("*") if SECRET in path.name or SECRET in read(path)] == []


def test_a_secret_of_the_environment_stays_there(
    call: Command, place: Place, tmp_path: Path, environment: dict[str, str]
) -> None:
    for name, value in {"OWN_URI": f"http://u:{SECRET}@127.0.0.1:9", "OWN_WORD": SECRET}.items():
        environment[name] = value
    try:
        for uri in ("${oc.env:OWN_URI}", "http://u:${oc.env:OWN_WORD}@127.0.0.1:9"):
            ended = call(*place.small, f"tracking.uri='{uri}'")
            assert ended.status == 1
            assert SECRET not in ended.error
    finally:
        del environment["OWN_URI"], environment["OWN_WORD"]
    assert [path for path in tmp_path.rglob("*") if SECRET in read(path)] == []


def read(path: Path) -> str:
    return path.read_text("utf-8", errors="replace") if path.is_file() else ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_in_one_line_that_names_the_place(
    call: Command, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full for Hydra's files, or only for the log."""
    own = tmp_path / "a" / ".hydra"
    own.mkdir(parents=True)
    (own / "config.yaml").symlink_to("/dev/full")
    ended = call(*place.small, "hydra.run.dir=a")
    assert (ended.status, ended.err) == (1, f"keyneurons: error: [Errno 28] No space left on device: '{own}'\n")
    (own / "config.yaml").unlink()
    (tmp_path / "a" / "keyneurons.log").symlink_to("/dev/full")
    monkeypatch.setattr(job, "run_experiment", failing)
    monkeypatch.setattr("mlflow.MlflowClient.log_artifacts", lambda *_: None)  # reading /dev/full never ends
    ended = call(*place.small, "hydra.run.dir=a")
    assert (ended.status, ended.err) == (1, "keyneurons: error: a mistake\n")


def failing(*_: Any) -> None:
    raise ValueError("a mistake")
