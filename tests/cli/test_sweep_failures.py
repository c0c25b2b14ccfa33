"""Failures of sweeps: jobs that raise, full disks, and locked, read-only or damaged stores."""

from __future__ import annotations

import errno
import functools
import itertools
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra.core.utils
import pytest
from mlflow import MlflowClient
from user import QUICK, Command, Place, client_of, runs_in, write_treebank

from keyneurons.activations.partial import PartialArrays

PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class Kept:
    """The store of a sweep, with the ids of the parent and its two runs."""

    folder: Path
    parent: str
    runs: tuple[str, ...]

    @property
    def database(self) -> Path:
        return self.folder / "mlruns" / "mlflow.db"

    @property
    def commands(self) -> list[list[str]]:
        """All commands that read the store."""
        filtered = ["compare", "filter=params.top_k = '2'"]
        return [["compare", f"sweep={self.parent}"], filtered, ["inspect", self.runs[0], "--tag", "NOUN"]]

    def artifacts(self, run: str) -> Path:
        return self.folder / "mlruns" / "artifacts" / run / "artifacts"


@pytest.fixture(scope="module")
def swept(here: Command, place: Place, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("swept")
    ended = here(folder, "-m", *place.small, *QUICK, "top_k=2,3", f"cache={place.cache}")
    assert ended.status == 0, ended.err
    parent, *children = (run.info.run_id for run in runs_in(folder))
    return Kept(folder, parent, tuple(children))


@pytest.fixture
def kept(swept: Kept, call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A copy of the store to damage, in the working directory of the commands."""
    shutil.copytree(swept.folder, tmp_path, dirs_exist_ok=True)
    kept = Kept(tmp_path, swept.parent, swept.runs)
    with closing(sqlite3.connect(kept.database)) as database, database:
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location"), ("tags", "value")):
            moved = (str(swept.folder), str(tmp_path))
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", moved)
    return kept


def refuses_all(call: Command, kept: Kept, place: Place, told: str) -> None:
    """Reading and writing the store fail with one line and create no run."""
    for arguments in (*kept.commands, ["-m", f"resume={kept.parent}"], [*place.small, *QUICK]):
        ended = call(*arguments)
        assert ended.status == 1
        assert ended.error.startswith("keyneurons: error: ")
        assert told in ended.error
        assert "SELECT" not in ended.error
        assert ended.out == ""


def statuses(folder: Path) -> list[str]:
    return sorted(run.info.status for run in runs_in(folder))


def test_a_store_of_another_version_of_mlflow_is_left_as_it_is(call: Command, kept: Kept, place: Place) -> None:
    with closing(sqlite3.connect(kept.database)) as database, database:
        [[own]] = database.execute("SELECT version_num FROM alembic_version").fetchall()
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")  # revision of MLflow 1
    refuses_all(call, kept, place, f"found version 451aebb31d03, but expected {own}")
    with closing(sqlite3.connect(kept.database)) as database, database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("451aebb31d03",)]
        database.execute("UPDATE alembic_version SET version_num = ?", (own,))
    assert call(*kept.commands[0]).status == 0


def test_a_store_that_another_process_has_locked(
    call: Command, kept: Kept, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    with closing(connect(kept.database, isolation_level=None)) as other, monkeypatch.context() as patch:
        other.execute("BEGIN EXCLUSIVE")
        # shortens MLflow's repeated waits of five seconds
        patch.setattr(sqlite3.dbapi2, "connect", functools.partial(connect, timeout=0.05))
        refuses_all(call, kept, place, f"MLflow at sqlite:///{kept.database}: ")
        assert "database is locked" in call(*kept.commands[0]).error
        other.execute("ROLLBACK")
    assert call(*kept.commands[0]).status == 0


def test_a_store_that_may_only_be_read_is_compared(
    call: Command, kept: Kept, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    with closing(connect(kept.database)) as database, database:  # an unchanged description would not be written
        database.execute("DELETE FROM tags WHERE key = 'mlflow.note.content'")

    def reading(database: str, **options: Any) -> sqlite3.Connection:  # root ignores permissions
        return connect(f"file:{database}?mode=ro", uri=True, **options)

    monkeypatch.setattr(sqlite3.dbapi2, "connect", reading)
    by_sweep, by_filter, inspected = kept.commands
    assert call(*by_filter).status == call(*inspected).status == 0
    ended = call(*by_sweep)
    assert ended.status == 1
    assert ended.out.startswith("2 runs compared: ")  # only the upload to the sweep's run failed
    assert ended.error.startswith("keyneurons: error: the comparison is in outputs/")
    assert f"-compare, but could not be sent to run {kept.parent}: MLflow at sqlite:///" in ended.error
    assert ended.error.endswith("attempt to write a readonly database")
    for arguments in (["-m", f"resume={kept.parent}"], [*place.small, *QUICK]):
        assert call(*arguments).error.endswith("attempt to write a readonly database")


def test_a_store_that_is_no_database(call: Command, kept: Kept, place: Place) -> None:
    kept.database.write_bytes(b"no database at all" * 100)
    refuses_all(call, kept, place, "file is not a database")


def test_runs_whose_artifacts_are_gone_are_named(call: Command, kept: Kept) -> None:
    first, second = kept.runs
    shutil.rmtree(kept.artifacts(first))
    ended = call("compare", f"sweep={kept.parent}")
    assert ended.status == 0, ended.err
    assert ended.out.startswith("1 run compared: ")
    gone = "no key_neurons.json (deleted after the run)"
    assert f"Excluded, {gone}: mlp.2 k2 correlation ({first[:8]})" in ended.out
    (kept.artifacts(second) / "key_neurons.json").unlink()
    told = f"no run is finished and has key neurons (of 2 runs; {gone}: mlp.2 k2 correlation ({first[:8]}), mlp.2 k3 "
    assert told in call("compare", f"sweep={kept.parent}").error


def test_runs_of_another_version_of_ours_are_named(call: Command, kept: Kept) -> None:
    first, second = kept.runs
    for run, change in ((first, {"format": 2}), (second, {"dataset": "tiny"})):
        path = kept.artifacts(run) / "key_neurons.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **change}), "utf-8")
    error = call("compare", f"sweep={kept.parent}").error
    assert f"format 2 is not supported, only 1: mlp.2 k2 correlation ({first[:8]}); " in error
    assert "does not fit this version: dataset: Input should be a valid dictionary" in error


def test_sets_of_different_models_are_not_compared_and_the_models_named(
    call: Command, kept: Kept, place: Place
) -> None:
    assert call(*place.small, *QUICK, f"model.folder={place.bert}").status == 0
    ended = call("compare", "experiment=keyneurons")
    assert ended.status == 0, ended.err
    told = " ".join(ended.out.split())
    assert "Neurons of different model and architecture and tokenizer and neurons_per_layer are not comparable" in told
    assert "llama, mlp (2); bert, mlp (1). They differ in model (llama, bert)" in told
    assert "keyneurons compare \"filter=tags.model = 'llama'\"" in told


def test_what_is_asked_wrongly_of_a_sweep_is_told_in_one_line(call: Command, kept: Kept) -> None:
    run = kept.runs[0]
    sent = client_of(kept.folder)
    failed = sent.create_run("1", run_name="mine", tags={PARENT: kept.parent}).info.run_id
    sent.set_terminated(failed, status="FAILED")
    wrong = {
        ("compare", f"sweep={run}"): f"run {run} is not a sweep: it has no child runs in sqlite",
        ("compare", f"sweep={kept.parent[:8]}"): f"has no run '{kept.parent[:8]}'",
        ("compare", kept.parent): "or one of sweep=ID, experiment=NAME and filter=..., got 1 run",
        (
            "compare",
            f"sweep={kept.parent}",
            "top_k=3",
        ): "compare takes only sweep=, share=, transfer=true, tracking.uri= and report.*, got top_k=3",
        ("compare", "experiment=keyneurons", "tracking.foo=1"): "unknown key 'tracking.foo'; tracking has ",
        ("compare", f"filter=attributes.run_id = '{failed}'"): f"; status FAILED: mine ({failed[:8]}))",
        ("inspect", failed, "--tag", "NOUN"): f"run mine ({failed}) has no key_neurons.json in ",
        ("inspect", run): "give one of --tag TAG and --neuron SITE.LAYER.NUMBER, got none",
        ("inspect", "NOUN", "--tag", run): "has no run 'NOUN'",
        ("inspect", kept.parent, "--tag", "NOUN"): "has no key_neurons.json",
        ("-m", f"resume={run}"): f"run {run} in sqlite:///{kept.database} is not a sweep",
        ("-m", f"resume={kept.parent}", "nonsense=3"): "unknown key 'nonsense'; the configuration has model, ",
        ("-m", f"resume={kept.parent}", "top_k=abc"): "top_k: should be a valid integer",
    }
    for arguments, told in wrong.items():
        ended = call(*arguments)
        assert ended.status == 1
        assert told in ended.error
        assert ended.out == ""


def test_a_finished_sweep_that_is_resumed_does_nothing_again(call: Command, kept: Kept) -> None:
    ended = call("-m", f"resume={kept.parent}")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("resuming a sweep: 2 of 2 jobs are done\n")
    assert ended.out.count("already finished, see run ") == 2
    assert statuses(kept.folder) == ["FINISHED"] * 3


@pytest.mark.parametrize("where", ["cache", "outputs", "mlruns"])
def test_what_was_finished_outlives_a_full_disk(
    call: Command, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The disk is full in the second job of a sweep; later space is available again."""
    treebanks = f"{place.treebank},{write_treebank(tmp_path / 'other.conllu', seed=1)}"
    small = [override for override in place.small if not override.startswith("dataset.file")]
    given = [*small, *QUICK, f"dataset.file={treebanks}", f"cache={tmp_path / 'cache'}"]
    owner, name, n_before = FULL_AT[where]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full_after(getattr(owner, name), n_before))
        ended = call("-m", *given)
    assert ended.status == 1
    parent, done, *failed = runs_in(tmp_path)
    *job, last = ended.err.strip().splitlines()
    told = "[Errno 28] No space left on device"
    later = "; the run's folder is complete, send it later with: keyneurons log " if where == "mlruns" else ""
    assert [line.partition(str(tmp_path))[0] for line in job] == (
        [] if where == "outputs" else [f"keyneurons: error: #1: {told}{later}"]
    )
    assert last.startswith(f"keyneurons: error: {f'{told}: ' if where == 'outputs' else '1 job failed (#1); '}")
    assert last.endswith(f"resume with: keyneurons -m resume={parent.info.run_id}")
    assert (parent.info.status, done.info.status) == ("FAILED", "FINISHED")
    assert [run.info.status for run in failed] == ([] if where == "outputs" else ["FAILED"])
    assert call("compare", f"sweep={parent.info.run_id}").out.startswith("1 run compared: ")
    whole = {path.with_suffix("") for path in (tmp_path / "cache" / "activations").glob("*/*.*.json")}
    assert {path.with_suffix("") for path in (tmp_path / "cache" / "activations").rglob("*.npy")} == whole

    resumed = call("-m", f"resume={parent.info.run_id}")
    assert (resumed.status, resumed.err) == (0, "")
    assert f": already finished, see run {done.info.run_id}\n" in resumed.out
    assert statuses(tmp_path).count("FINISHED") == 3
    assert call("compare", f"sweep={parent.info.run_id}").out.startswith("2 runs compared: ")


FULL_AT: dict[str, tuple[object, str, int]] = {
    "cache": (PartialArrays, "open", 3),  # one call per split
    "outputs": (hydra.core.utils, "_save_config", 3),  # Hydra's files, before the job starts
    "mlruns": (MlflowClient, "log_artifacts", 1),
}
"""What writes there, and how often it does in the first job."""


def full_after(write: Callable[..., Any], n_before: int) -> Callable[..., Any]:
    calls = itertools.count()

    def writing(*arguments: Any, **options: Any) -> Any:
        if next(calls) >= n_before:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments, **options)

    return writing
