"""Sweeps: one parent with its children, also when a job fails; and Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from user import KEYNEURONS, Command, Place, artifacts_of, runs_in, write_treebank

PARENT = "mlflow.parentRunId"


@pytest.mark.slow
def test_a_sweep_is_one_parent_with_its_children(command: Command, place: Place, tmp_path: Path) -> None:
    given = [*place.small, f"cache={tmp_path / 'cache'}"]
    ended = command(tmp_path, "-m", *given, "selection=correlation,mutual_information", "top_k=2,3")
    assert ended.status == 0, ended.err
    assert ended.err == ""
    lines = ended.out.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["#0", "#1", "#2", "#3"]
    assert all("matched random sets" in line for line in lines)
    runs = runs_in(tmp_path)
    [parent] = [run for run in runs if PARENT not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert {run.data.tags[PARENT] for run in children} == {parent.info.run_id}
    assert [run.info.status for run in runs] == ["FINISHED"] * 5
    assert "top_k" in parent.info.run_name
    assert parent.data.metrics.items() >= {"sweep/finished": 4.0, "sweep/failed": 0.0}.items()
    done = {(run.data.params["choice.selection"], run.data.params["top_k"]) for run in children}
    assert done == {(method, k) for method in ("correlation", "mutual_information") for k in ("2", "3")}
    assert len({run.info.run_name for run in children}) == 4
    logs = [(folder / "keyneurons.log").read_text("utf-8") for folder in output_folders_of_sweep(tmp_path)]
    assert len(logs) == 4
    assert ["reading" in log for log in logs] == [True, False, False, False]


@pytest.mark.slow
def test_a_failing_job_leaves_the_others_alone(command: Command, place: Place, tmp_path: Path) -> None:
    given = [override for override in place.small if not override.startswith("dataset.file")]
    broken = tmp_path / "broken.conllu"
    broken.write_text("1\tdog\n\n", encoding="utf-8")
    ended = command(tmp_path, "-m", *given, f"dataset.file={broken},{place.treebank}")
    assert ended.status == 1
    why, end = ended.err.splitlines()
    assert why.startswith(f"keyneurons: error: #0: {broken}:1: expected 10 columns")
    assert end == "keyneurons: error: 1 of the jobs failed (#0); their runs keep the log"
    assert [line.partition(" ")[0] for line in ended.out.splitlines()] == ["#1"]
    parent, failed, finished = runs_in(tmp_path)
    assert failed.data.tags[PARENT] == finished.data.tags[PARENT] == parent.info.run_id
    assert [run.info.status for run in (parent, failed, finished)] == ["FAILED", "FAILED", "FINISHED"]
    assert "expected 10 columns" in (artifacts_of(failed) / "keyneurons.log").read_text("utf-8")
    assert parent.data.metrics.items() >= {"sweep/finished": 1.0, "sweep/failed": 1.0}.items()


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
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
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
    """Until the log of the run that is under way in a folder says something."""
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
