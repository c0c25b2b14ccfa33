"""Sweeps: parent and child runs, failed jobs, resuming, and Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from user import KEYNEURONS, Command, Place, artifacts_of, client_of, runs_in, write_treebank

PARENT = "mlflow.parentRunId"


@pytest.mark.slow
def test_a_sweep_is_one_parent_with_its_children(command: Command, place: Place, tmp_path: Path) -> None:
    given = [*place.small, f"cache={tmp_path / 'cache'}"]
    ended = command(tmp_path, "-m", *given, "selection=correlation,mutual_information", "top_k=2,3")
    assert ended.status == 0, ended.err
    assert ended.err == ""
    *lines, significant, last = ended.out.splitlines()
    assert significant.startswith("Significant after Benjamini-Hochberg over the runs")
    assert [line.partition(" ")[0] for line in lines] == ["#0", "#1", "#2", "#3"]
    assert all("random neurons" in line for line in lines)
    runs = runs_in(tmp_path)
    assert last.startswith("comparison: ")
    assert last.endswith(f", also in run {runs[0].info.run_id}")
    assert (artifacts_of(runs[0]) / "comparison" / "report.html").is_file()
    [parent] = [run for run in runs if PARENT not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert {run.data.tags[PARENT] for run in children} == {parent.info.run_id}
    assert [run.info.status for run in runs] == ["FINISHED"] * 5
    assert "top_k" in parent.info.run_name
    assert parent.data.metrics.items() >= {"sweep/finished": 4.0, "sweep/missing": 0.0}.items()
    done = {(run.data.params["choice.selection"], run.data.params["top_k"]) for run in children}
    assert done == {(method, k) for method in ("correlation", "mutual_information") for k in ("2", "3")}
    assert len({run.info.run_name for run in children}) == 4
    logs = [(folder / "keyneurons.log").read_text("utf-8") for folder in output_folders_of_sweep(tmp_path)]
    assert len(logs) == 4
    assert ["reading" in log for log in logs] == [True, False, False, False]


@pytest.mark.slow
def test_a_failing_job_leaves_the_others_alone(here: Command, place: Place, tmp_path: Path) -> None:
    given = [override for override in place.small if not override.startswith("dataset.file")]
    broken = tmp_path / "broken.conllu"
    broken.write_text("1\tdog\n\n", encoding="utf-8")
    ended = here(tmp_path, "-m", *given, f"dataset.file={broken},{place.treebank}")
    assert ended.status == 1
    why, end = ended.err.splitlines()
    assert why.startswith(f"keyneurons: error: #0: {broken}:1: expected 10 columns")
    parent, failed, finished = runs_in(tmp_path)
    assert end == (
        "keyneurons: error: 1 job failed (#0); the log is in the run of each; resume with: "
        f"keyneurons -m resume={parent.info.run_id}"
    )
    assert [line.partition(" ")[0] for line in ended.out.splitlines()] == ["#1", "Significant", "comparison:"]
    assert failed.data.tags[PARENT] == finished.data.tags[PARENT] == parent.info.run_id
    assert [run.info.status for run in (parent, failed, finished)] == ["FAILED", "FAILED", "FINISHED"]
    assert "expected 10 columns" in (artifacts_of(failed) / "keyneurons.log").read_text("utf-8")
    assert parent.data.metrics.items() >= {"sweep/finished": 1.0, "sweep/failed": 1.0}.items()

    write_treebank(broken, seed=1)  # repaired: the other job is not repeated
    ended = here(tmp_path, "-m", f"resume={parent.info.run_id}")
    assert ended.status == 0, ended.err
    first, *lines, _, last = ended.out.splitlines()
    assert first == "resuming a sweep: 1 of 2 jobs are done"
    assert last.startswith("comparison: ")
    assert lines[0].startswith("#0 mlp.2 k3 correlation dataset.file=broken.conllu: ")
    assert lines[1:] == [
        f"#1 mlp.2 k3 correlation dataset.file=tiny.conllu: already finished, see run {finished.info.run_id}"
    ]
    runs = runs_in(tmp_path)
    assert [run.info.status for run in runs] == ["FINISHED", "FAILED", "FINISHED", "FINISHED"]
    assert {run.data.tags[PARENT] for run in runs[1:]} == {parent.info.run_id}
    assert runs[0].data.metrics.items() >= {"sweep/finished": 2.0, "sweep/failed": 0.0}.items()


@pytest.mark.slow
def test_a_sweep_killed_without_warning_goes_on_where_it_stopped(
    environment: dict[str, str], here: Command, place: Place, tmp_path: Path
) -> None:
    given = [*place.small, f"cache={tmp_path / 'cache'}", "layer=0,1,2"]
    with (tmp_path / "out.txt").open("w", encoding="utf-8") as out:
        process = subprocess.Popen([str(KEYNEURONS), "-m", *given], cwd=tmp_path, env=environment, stdout=out)
        try:
            deadline = time.monotonic() + 120
            while "#0" not in (tmp_path / "out.txt").read_text("utf-8") and time.monotonic() < deadline:
                time.sleep(0.02)
            [sweep] = (path.parent for path in tmp_path.glob("outputs/*/*/sweep.json"))
        finally:
            process.kill()
            process.wait()
    done = [run for run in runs_in(tmp_path)[1:] if run.info.status == "FINISHED"]
    ended = here(tmp_path, "-m", f"resume={sweep}", "layer=0,1,2,3")
    assert ended.status == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == f"resuming a sweep: {len(done)} of 4 jobs are done"
    assert sum("already finished, see run" in line for line in lines) == len(done) > 0
    parent, *children = runs_in(tmp_path)
    statuses = [run.info.status for run in children]
    assert parent.info.status == "FINISHED"
    assert statuses.count("FINISHED") == 4
    assert set(statuses) <= {"FINISHED", "KILLED"}
    assert {run.data.tags["layer"] for run in children if run.info.status == "FINISHED"} == {"0", "1", "2", "3"}


@pytest.mark.slow
def test_a_layer_sweep_and_the_command_before_it_read_every_text_once(
    here: Command, place: Place, tmp_path: Path
) -> None:
    given = [*place.small, f"cache={tmp_path / 'cache'}", "layer=0,2"]
    ended = here(tmp_path, "-m", *given)
    assert ended.status == 0, ended.err
    logs = [(folder / "keyneurons.log").read_text("utf-8") for folder in output_folders_of_sweep(tmp_path)]
    assert [log.count("reading") for log in logs] == [3, 0]  # the first job extracts for both
    before = here(tmp_path, "extract", *given, "site=mlp,residual", "layer=0,1")
    assert before.status == 0, before.err
    assert [line.split(": ")[0].split(" of ")[0] for line in before.out.splitlines()] == ["mlp", "residual"]
    assert "layers 0, 1, read at word" in before.out
    arrays = {path.stem for path in (tmp_path / "cache" / "activations").glob("*/*.json")} - {"key"}
    assert arrays == {"mlp.0", "mlp.1", "mlp.2", "residual.0", "residual.1"}


def test_what_cannot_be_resumed_is_told_in_one_line(call: Command, place: Place, tmp_path: Path) -> None:
    assert call(*place.small).status == 0
    [run] = runs_in(tmp_path)
    assert (
        "is not a sweep: resume= takes the id of a sweep's run or its folder"
        in call("-m", f"resume={run.info.run_id}").error
    )
    assert "has no run 'nowhere'" in call("-m", "resume=nowhere").error
    assert "it has no readable sweep.json" in call("-m", "resume=outputs").error
    client = client_of(tmp_path)
    tags = {"overrides": "top_k=2,3", "process": f"process {os.getppid()} on {socket.gethostname()}"}
    running = client.create_run(run.info.experiment_id, tags=tags).info.run_id
    assert f"sweep {running} is still running (process {os.getppid()} on" in call("-m", f"resume={running}").error
    assert call("resume=nowhere").error.endswith("resume= needs -m: keyneurons -m resume=nowhere")


def test_a_folder_may_have_any_name(
    call: Command, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / 'it\'s "$HOME" {a}=[1] what? My%20Data -~#\\ '
    home.mkdir()
    monkeypatch.chdir(home)
    few = ["reliability.halves=0"]
    assert call(*place.small, *few).status == 0
    assert call("-m", *place.small, *few, "top_k=2,3").status == 0
    [folder] = (path.relative_to(home) for path in home.glob("outputs/*/*-sweep"))
    parent = next(run for run in runs_in(home) if "overrides" in run.data.tags)
    for which in (folder, folder.absolute(), parent.info.run_id):
        ended = call("-m", f"resume={which}")
        assert (ended.status, ended.err) == (0, "")
        assert ended.out.startswith("resuming a sweep: 2 of 2 jobs are done\n")
    assert list(tmp_path.iterdir()) == [home]
    assert {path.name for path in home.iterdir()} == {"mlruns", "outputs"}
    assert len(runs_in(home)) == 4
    uri = "tracking.uri=http://127.0.0.1:9"
    away = call("-m", *place.small, *few, "tracking=server", uri, "top_k=2,3", "hydra.sweep.dir='a sweep'")
    hint = next(line for line in away.out.splitlines() if "send this run later with: " in line)
    assert shlex.split(hint.partition("with: ")[2]) == ["keyneurons", "log", "a sweep/0"]


def test_a_folder_that_hydra_would_resolve_is_refused(
    call: Command, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "a${oc.env:HOME}"
    home.mkdir()
    monkeypatch.chdir(home)
    for arguments in (place.small, ["-m", *place.small, "top_k=2,3"]):
        ended = call(*arguments)
        assert ended.status == 1
        assert "the path of the working directory contains ${" in ended.error
    assert list(home.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("during", ["reading", "probe"])
def test_ctrl_c_ends_a_run_in_one_line(environment: dict[str, str], place: Place, tmp_path: Path, during: str) -> None:
    treebank = write_treebank(tmp_path / "long.conllu", 3000 if during == "reading" else 200)
    slow = {
        "reading": ["activations.batch_tokens=8"],
        "probe": ["probe.patience=100000", "trainer.max_epochs=100000", "probe.batch_size=8"],
    }
    given = [*place.small, f"dataset.file={treebank}", f"cache={tmp_path / 'cache'}", *slow[during]]
    process = subprocess.Popen(
        [str(KEYNEURONS), *given],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs ignore SIGINT
    )
    try:
        wait_for(tmp_path, "reading" if during == "reading" else "reading.*\n.*reading.*\n.*reading", process)
        time.sleep(0.5 if during == "reading" else 3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out.decode()) == (130, "")
    assert [line for line in err.decode().splitlines() if line.strip()] == ["interrupted"]
    [run] = runs_in(tmp_path)
    assert run.info.status == "KILLED"
    assert (artifacts_of(run) / "keyneurons.log").is_file()
    whole = {path.with_suffix("") for path in (tmp_path / "cache" / "activations").glob("*/*.*.json")}
    arrays = {path.with_suffix("") for path in (tmp_path / "cache" / "activations").glob("*/*.*.npy")}
    assert arrays == whole
    assert len(whole) == (0 if during == "reading" else 3)


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the log of the current run in a folder contains a text."""
    import re

    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        for log in folder.glob("outputs/*/*/keyneurons.log"):
            if re.search(pattern, log.read_text("utf-8")):
                return
        time.sleep(0.05)
    raise AssertionError(f"the log never said {pattern!r}: {process.poll()}")


def output_folders_of_sweep(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("outputs/*/*/*/run.json"))
