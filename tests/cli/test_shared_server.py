"""The server for several users: two sweeps at the same time, and the shutdown of its database."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_server import free_port, serving
from user import KEYNEURONS, Place, results_of

from keyneurons.tracking import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SERVER = Path(__file__).resolve().parents[2] / "tools" / "server.py"
PARENT = "mlflow.parentRunId"
HAS_POSTGRES = shutil.which("initdb") is not None or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
IS_ROOT = os.geteuid() == 0
USERS = {user.pw_name for user in pwd.getpwall()}

MISSING = [
    reason
    for missing, reason in (
        (not HAS_POSTGRES, "PostgreSQL is not installed"),
        (find_spec("psycopg2") is None, "psycopg2 is not installed: keyneurons[server]"),
        (IS_ROOT and "postgres" not in USERS, "there is no user postgres, and root cannot run PostgreSQL"),
    )
    if missing
]
needs_postgres = pytest.mark.skipif(bool(MISSING), reason="; ".join(MISSING))


def server(folder: Path, port: int) -> list[str]:
    """The command that starts the server."""
    user = ["--postgres-user", "postgres"] if IS_ROOT else []
    return [sys.executable, str(SERVER), "--folder", str(folder), "--port", str(port), "--workers", "1", *user]


@pytest.fixture
def open_folder() -> Generator[Path]:
    """A folder that PostgreSQL's user can access, unlike pytest's temporary folders."""
    with tempfile.TemporaryDirectory(prefix="keyneurons-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.slow
@needs_postgres
@pytest.mark.long
def test_two_sweeps_write_at_once_and_nothing_is_lost_or_mixed(
    environment: dict[str, str], place: Place, tmp_path: Path, open_folder: Path
) -> None:
    from mlflow import MlflowClient

    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    swept = {"a": "top_k=2,3", "b": "selection=mutual_information,mean_difference"}
    with serving(server(open_folder / "server", port), port, tmp_path, environment):
        sweeps = {}
        for name, own in swept.items():
            (tmp_path / name).mkdir()
            sweeps[name] = subprocess.Popen(
                [str(KEYNEURONS), "-m", *place.small, own, "tracking=server", f"tracking.uri={uri}"],
                cwd=tmp_path / name,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        for process in sweeps.values():
            out, err = process.communicate(timeout=400)
            assert (process.returncode, err) == (0, ""), out
            assert [line.partition(" ")[0] for line in out.splitlines()] == ["#0", "#1", "Significant", "comparison:"]
        client = MlflowClient(uri)
        runs = all_runs(client)
        assert len(runs) == 6
        for name in swept:
            is_complete(client, runs, tmp_path / name)
        for name in ("one", "two", "three"):
            assert len(set(made_at_once(uri, name))) == 1
        asked = server(open_folder / "server", free_port())
        again = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
        assert again.returncode == 1
        assert again.stderr.startswith("server: error: pg_ctl failed with status 1: ")
        assert len(all_runs(client)) == 6
        assert (open_folder / "server" / "postgres" / "postmaster.pid").is_file()
    assert not (open_folder / "server" / "postgres" / "postmaster.pid").exists()


def made_at_once(uri: str, name: str) -> list[str]:
    """The experiment ids of eight processes that create the same experiment at once."""
    together = threading.Barrier(8)

    def connect(_: int) -> str:
        together.wait(60)
        found = Store(uri, None, name).connect().get_experiment_by_name(name)
        assert found is not None
        return str(found.experiment_id)

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(connect, range(8)))


@pytest.mark.skipif(not (HAS_POSTGRES and IS_ROOT), reason="only root is refused, and only with PostgreSQL")
def test_root_is_told_to_name_another_user(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, str(SERVER)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == (
        "server: error: PostgreSQL does not run as root: start this script as another user, "
        "or set --postgres-user postgres\n"
    )


def test_only_a_postgresql_database_is_taken(tmp_path: Path) -> None:
    asked = [sys.executable, str(SERVER), "--database", "mysql://nowhere/x"]
    ended = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].endswith("--database must be postgresql://..., got 'mysql://nowhere/x'")


def all_runs(client: MlflowClient) -> list[Run]:
    experiment = client.get_experiment_by_name("keyneurons")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def is_complete(client: MlflowClient, runs: list[Run], folder: Path) -> None:
    """Check that the sweep's parent has exactly two children and all records are on the server."""
    [file] = folder.glob("outputs/*/*/sweep.json")
    parent = json.loads(file.read_text("utf-8"))["parent"]
    [above] = [run for run in runs if run.info.run_id == parent]
    children = {run.info.run_id: run for run in runs if run.data.tags.get(PARENT) == parent}
    assert {above.info.status, *(run.info.status for run in children.values())} == {"FINISHED"}
    assert above.data.metrics.items() >= {"sweep/finished": 2.0, "sweep/missing": 0.0}.items()
    places = {json.loads(path.read_text("utf-8"))["run_id"]: path.parent for path in file.parent.glob("*/run.json")}
    assert set(places) == set(children)
    for run_id, place in places.items():
        metrics = json.loads((place / "metrics.json").read_text("utf-8"))
        assert results_of(children[run_id]) == pytest.approx(metrics)
        here = {path.name: path.stat().st_size for path in place.iterdir() if path.suffix in {".json", ".safetensors"}}
        there = {artifact.path: artifact.file_size for artifact in client.list_artifacts(run_id)}
        here.pop("mlflow_run.json", None)
        assert there.items() >= here.items()
