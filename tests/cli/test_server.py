"""Tracking servers: unreachable, reachable, and started by `keyneurons ui`."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from serving import free_port, serving
from user import KEYNEURONS, Command, Place, client_of, output_folders, runs_in

from keyneurons.addresses import sqlite_address
from keyneurons.cli import ui
from keyneurons.tracking import Store, page


def test_a_run_finishes_without_its_server_and_is_sent_later(call: Command, place: Place) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    ended = call(*place.small, "tracking=server", f"tracking.uri={uri}")
    assert ended.status == 0, ended.err
    [folder] = output_folders(Path.cwd())
    shown = folder.relative_to(Path.cwd())
    assert f"The tracking server {uri} is unreachable; send this run later with: keyneurons log {shown}" in ended.out
    assert "matched random sets" in ended.out
    assert not Path("mlruns").exists()
    sent = call("log", str(shown))
    assert sent.status == 0, sent.err
    [run] = runs_in(Path.cwd())
    assert run.info.status == "FINISHED"
    assert run.info.run_id in sent.out
    metrics = client_of(Path.cwd()).get_run(run.info.run_id).data.metrics
    results = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert {name: metrics.get(name) for name in results} == pytest.approx(results)
    assert {name.partition("/")[0] for name in metrics.keys() - results.keys()} == {"epoch"}
    twice = call("log", str(shown))
    assert twice.status == 1
    assert f"is already in MLflow, as run {run.info.run_id}" in twice.error


@pytest.mark.slow
def test_a_real_server_receives_a_run(call: Command, place: Place, environment: dict[str, str], tmp_path: Path) -> None:
    from mlflow import MlflowClient

    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    server = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    server += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", f"{tmp_path}/kept"]
    quiet = {**environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with serving(server, port, tmp_path, quiet):
        ended = call(*place.small, "tracking=server", f"tracking.uri={uri}")
        assert ended.status == 0, ended.err
        assert "is away" not in ended.out
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("keyneurons")
        assert experiment is not None
        [run] = client.search_runs([experiment.experiment_id])
        assert run.info.status == "FINISHED"
        assert "probe/advantage" in run.data.metrics
        names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert {"key_neurons.json", "figures", "metrics.json", "model", "overlap.png", "tables"} <= names
        assert len(client.search_logged_models([experiment.experiment_id])) == 1
        page = f"{uri}/#/experiments/{experiment.experiment_id}/runs"
        view = f"{page}?workflowType=machine_learning&viewStateShareKey=keyneurons"
        assert view in call("ui", "--no-browser", "tracking=server", f"tracking.uri={uri}").out
        refused = call(*place.small, "tracking=server", f"tracking.uri={uri}/elsewhere")
        assert refused.status == 1
        assert f"MLflow at {uri}/elsewhere" in refused.error


@pytest.mark.slow
def test_the_ui_answers_on_its_port(environment: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    Store(sqlite_address(tmp_path / "mlruns" / "mlflow.db"), tmp_path / "mlruns" / "artifacts", "keyneurons").connect()
    with serving([str(KEYNEURONS), "ui", "--no-browser", "--port", str(port)], port, tmp_path, environment):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
            page = response.read().decode()
            assert response.headers["Cache-Control"] == "no-store"
        assert "<title>MLflow</title>" in page
        assert page.index("#/experiments/1/runs?workflowType=machine_learning") < page.index("main.")
        names = ["localhost", "127.0.0.1", "[::1]"]
        local = [host for name in names for host in (name, f"{name}:{port}")]
        foreign = ["evil.example", "10.evil.example", "192.168.evil.example", "10.0.0.1", f"10.0.0.1:{port}", "0.0.0.0"]
        foreign += [
            f"localhost.evil.example:{port}",
            f"127.0.0.1.evil.example:{port}",
            f"localhost:{port}.evil.example",
        ]
        assert {host: status_for(port, host) for host in local} == dict.fromkeys(local, 200)
        assert {host: status_for(port, host) for host in foreign} == dict.fromkeys(foreign, 403)
        busy = subprocess.run(
            [str(KEYNEURONS), "ui", "--port", str(port)], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert (busy.returncode, busy.stdout) == (1, "")
        assert busy.stderr.startswith(f"keyneurons: error: port {port} cannot be opened (Address already in use)")
    assert f"MLflow UI at http://127.0.0.1:{port}" in (tmp_path / "server.log").read_text("utf-8")
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", port), timeout=2):
        pass


def status_for(port: int, host: str) -> int:
    """The HTTP status of a request with a Host header."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/", headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_port_that_another_process_has(call: Command) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = call("ui", "--port", str(port))
    assert (ended.status, ended.out) == (1, "")
    assert ended.error.startswith(f"keyneurons: error: port {port} cannot be opened (")
    assert ended.error.endswith("choose another with --port")
    assert not Path("mlruns").exists()


def test_without_a_port_the_next_free_one_is_taken(
    call: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Store(sqlite_address(tmp_path / "mlruns" / "mlflow.db"), None, "keyneurons").connect()
    started: list[list[str]] = []
    monkeypatch.setattr(ui.os, "execv", lambda _, arguments: started.append(arguments))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        busy = other.getsockname()[1]
        monkeypatch.setattr(ui, "PORT", busy)
        ended = call("ui", "--no-browser")
    assert ended.status == 0, ended.err
    [arguments] = started
    port = int(arguments[arguments.index("--port") + 1])
    assert busy < port < busy + ui.N_PORTS
    assert ended.out == f"MLflow UI at http://127.0.0.1:{port} (port {busy} is in use); stop it with Ctrl-C\n"


def test_the_ui_of_an_empty_folder(call: Command, tmp_path: Path) -> None:
    ended = call("ui")
    assert (ended.status, ended.out) == (1, "")
    database = tmp_path / "mlruns" / "mlflow.db"
    told = f"there are no runs: {database} does not exist (tracking.uri); make one with: keyneurons"
    assert ended.error == f"keyneurons: error: {told}"
    assert not list(tmp_path.iterdir())


def test_an_installation_without_the_page(call: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Store(sqlite_address(tmp_path / "mlruns" / "mlflow.db"), None, "keyneurons").connect()
    monkeypatch.setattr(page, "GROUP", "mlflow.no_such_group")
    ended = call("ui", "--no-browser")
    assert (ended.status, ended.out) == (1, "")
    assert ended.error.endswith("install it again (pip install -e .)")


def test_the_ui_of_an_unreachable_server(call: Command) -> None:
    ended = call("ui", "tracking=server", "tracking.uri=http://127.0.0.1:9")
    assert ended.status == 1
    assert ended.error == "keyneurons: error: the tracking server http://127.0.0.1:9 is unreachable"
