"""Commands that open a store mark runs of killed processes as KILLED, and no other runs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from user import KEYNEURONS, QUICK, Command, Place, client_of, runs_in

from keyneurons import find_runs
from keyneurons.process_tag import process_tag

GONE = process_tag().replace(f"process {os.getpid()} ", "process 4194305 ")
PARENT = "mlflow.parentRunId"


@pytest.mark.slow
def test_a_run_that_was_killed(environment: dict[str, str], call: Command, place: Place, tmp_path: Path) -> None:
    given = [*place.small, *QUICK, "trainer.max_epochs=100000", "probe.patience=100000"]
    process = subprocess.Popen([str(KEYNEURONS), *given], cwd=tmp_path, env=environment)
    try:
        deadline = time.monotonic() + 90
        while not any('"run_id"' in p.read_text() for p in tmp_path.glob("outputs/*/*/run.json")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "closed" not in call("compare", "filter=params.top_k = '3'").err  # the process is alive
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    [killed] = runs_in(tmp_path)
    assert killed.info.status == "RUNNING"
    ended = call(*place.small, *QUICK)
    assert ended.status == 0
    assert ended.err == f"marked 1 run as KILLED because its process ended: {killed.info.run_name}\n"
    assert sorted(run.info.status for run in runs_in(tmp_path)) == ["FINISHED", "KILLED"]
    assert call("compare", "experiment=keyneurons").err == ""


@pytest.fixture
def opened(call: Command, place: Place, tmp_path: Path) -> dict[str, str]:
    """The ids of RUNNING runs by name, next to a finished one."""
    assert call(*place.small, *QUICK).status == 0
    [run] = runs_in(tmp_path)
    client, experiment = client_of(tmp_path), run.info.experiment_id
    elsewhere = client.create_experiment("elsewhere")
    parent = client.create_run(experiment, run_name="sweep", tags={"process": GONE}).info.run_id
    made = {"sweep": parent}
    for name, where, tags in (
        ("job", experiment, {"process": GONE, PARENT: parent}),
        ("mine", experiment, {"process": process_tag()}),
        ("lives", experiment, {"process": f"process {os.getppid()} on {socket.gethostname()}"}),
        ("far", experiment, {"process": "process 4194305 on another-host"}),
        ("of before", experiment, {"process": f"process 4194305 on {socket.gethostname()}"}),
        ("odd", experiment, {"process": f"process x on {socket.gethostname()}"}),
        ("other", experiment, {}),
        ("of another experiment", elsewhere, {"process": GONE}),
    ):
        made[name] = client.create_run(where, run_name=name, tags=tags).info.run_id
    return made


def test_only_what_is_certainly_gone_is_closed(call: Command, opened: dict[str, str], tmp_path: Path) -> None:
    ended = call("compare", "experiment=keyneurons")
    assert ended.status == 0
    assert ended.err.startswith("marked 2 runs as KILLED because their processes ended: ")
    client = client_of(tmp_path)
    killed = {name for name, run in opened.items() if client.get_run(run).info.status == "KILLED"}
    assert killed == {"sweep", "job"}
    assert call("compare", "experiment=keyneurons").err == ""


@pytest.mark.parametrize("how", ["inspect", "python", "run"])
def test_every_way_to_open_a_store(
    call: Command, place: Place, opened: dict[str, str], tmp_path: Path, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    done = next(run for run in runs_in(tmp_path) if run.info.status == "FINISHED")
    if how == "python":
        find_runs(experiment="keyneurons")
        told = capfd.readouterr().err
    elif how == "inspect":
        told = call("inspect", done.info.run_id, "--tag", "NOUN").err
    else:
        told = call(*place.small, *QUICK).err
    assert told.startswith("marked 2 runs as KILLED because their processes ended: ")


WITHOUT_POWER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"] if os.geteuid() == 0 else []


@pytest.mark.skipif(bool(WITHOUT_POWER) and shutil.which("setpriv") is None, reason="root writes everywhere")
def test_a_store_without_permission_to_write_is_read(
    environment: dict[str, str], opened: dict[str, str], tmp_path: Path
) -> None:
    done = next(run for run in runs_in(tmp_path) if run.info.status == "FINISHED")
    store = tmp_path / "mlruns"
    (store / "mlflow.db.lock").unlink(missing_ok=True)
    before = (store / "mlflow.db").read_bytes()
    for path in (store, store / "mlflow.db"):
        path.chmod(path.stat().st_mode & 0o555)
    for arguments in (["compare", "experiment=keyneurons"], ["inspect", done.info.run_id, "--tag", "NOUN"]):
        asked = [*WITHOUT_POWER, str(KEYNEURONS), *arguments]
        ended = subprocess.run(asked, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
    assert {path.name for path in store.iterdir()} == {"mlflow.db", "artifacts"}
    assert (store / "mlflow.db").read_bytes() == before
