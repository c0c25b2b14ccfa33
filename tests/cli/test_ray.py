"""Sweeps and extraction on Ray: nodes and workers are lost, commands interrupted and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from ray_nodes import Nodes, ray_nodes
from user import KEYNEURONS, QUICK, Command, Place, runs_in

from keyneurons.cluster.connection import capacity, connected
from keyneurons.cluster.options import RayOptions, ray_options
from keyneurons.config.overrides import check_recorded

pytest.importorskip("ray")

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # sums depend on the number of threads
PARENT = "mlflow.parentRunId"
ENDLESS = ["trainer.max_epochs=100000", "probe.patience=100000"]


@pytest.mark.parametrize(
    ("key", "value", "legal"),
    [
        ("num_cpus", 0, "an integer of 1 or more"),
        ("num_cpus", 0.5, "an integer of 1 or more"),
        ("num_cpus", True, "an integer of 1 or more"),
        ("num_gpus", -1, "an integer of 0 or more, or a share of one GPU below 1"),
        ("num_gpus", 1.5, "an integer of 0 or more, or a share of one GPU below 1"),
        ("num_gpus", "x", "an integer of 0 or more, or a share of one GPU below 1"),
        ("workers", 0, "an integer of 1 or more, or null (as many as fit)"),
        ("address", "ray://head:10001", "null (Ray on this machine only), auto or HOST:PORT"),
        ("address", "head", "null (Ray on this machine only), auto or HOST:PORT"),
    ],
)
def test_legal_values(key: str, value: object, legal: str) -> None:
    with pytest.raises(ValueError, match="must be") as error:
        ray_options({"_target_": "x", key: value})
    assert str(error.value) == f"hydra.launcher.{key} must be {legal}, got {value!r}"


@pytest.mark.parametrize(
    ("key", "value"),
    [("num_gpus", 0.5), ("num_gpus", 2), ("num_cpus", 8), ("workers", 3), ("address", "10.0.0.1:6379")],
)
def test_values_that_are_kept(key: str, value: object) -> None:
    assert getattr(ray_options({"_target_": "x", key: value}), key) == value


def test_a_recorded_sweep_names_no_cluster_of_others() -> None:
    check_recorded(["hydra/launcher=ray", "hydra.launcher.num_cpus=2", "hydra.launcher.address=auto"], config_dir=None)
    with pytest.raises(ValueError, match="hydra.launcher.address"):
        check_recorded(["hydra/launcher=ray", "hydra.launcher.address=evil:6379"], config_dir=None)


def test_an_unreachable_cluster_is_reported_at_once() -> None:
    told = r"^cannot connect to Ray at hydra.launcher.address=127.0.0.1:9: .*Connection refused$"
    with pytest.raises(ValueError, match=told), connected(RayOptions("127.0.0.1:9")):
        pass


@pytest.fixture(scope="module")
def nodes(environment: dict[str, str]) -> Generator[Nodes]:
    with ray_nodes() as started:
        yield started


@pytest.mark.slow
def test_jobs_larger_than_every_node_do_not_wait(nodes: Nodes) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    told = "num_cpus=8, hydra.launcher.num_gpus=0: no node .* has 1 CPUs, 0 GPUs$"
    with pytest.raises(ValueError, match=told), connected(RayOptions(nodes.address, num_cpus=8)):
        pass
    with connected(RayOptions(nodes.address)):
        assert capacity(RayOptions(nodes.address)) == 2
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.long
@pytest.mark.slow
def test_two_workers_fill_the_cache_as_one_process(
    nodes: Nodes, place: Place, tmp_path: Path, command: Command, here: Command
) -> None:
    caches = {name: tmp_path / name for name in ("alone", "ray")}
    read = [*place.small, "layer=0,2", "site=mlp,residual"]
    on_ray = ["hydra/launcher=ray", f"hydra.launcher.address={nodes.address}"]
    ended = command(tmp_path, "extract", *read, f"cache={caches['ray']}", *on_ray, **ONE_THREAD)
    assert (ended.status, ended.err) == (0, "")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = here(tmp_path, "extract", *read, f"cache={caches['alone']}")
    finally:
        torch.set_num_threads(threads)
    assert ended.out.replace(str(caches["ray"]), str(caches["alone"])) == alone.out
    contents = [files_in(cache / "activations") for cache in caches.values()]
    assert contents[0] == contents[1]
    assert sum(path.suffix == ".npy" for path in contents[0]) == 12  # 3 splits, 2 sites, 2 layers


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.long
def test_a_lost_node_costs_its_job_and_the_rest_resumes(
    nodes: Nodes, place: Place, tmp_path: Path, command: Command, environment: dict[str, str]
) -> None:
    cluster = ["hydra/launcher=ray", f"hydra.launcher.address={nodes.address}"]
    jobs = [*place.small, *QUICK, "trainer.max_epochs=100000", f"cache={tmp_path / 'cache'}"]
    with started(tmp_path, environment, "-m", *cluster, *jobs, "probe.patience=3,100000") as process:
        until(lambda: finished(tmp_path, 0) and running(tmp_path, 1), process)
        nodes.lose(running(tmp_path, 1))
        out, err = process.communicate(timeout=120)
    [parent] = [run for run in runs_in(tmp_path) if PARENT not in run.data.tags]
    again = f"keyneurons -m resume={parent.info.run_id}"
    assert process.returncode == 1
    assert err.splitlines() == [
        "keyneurons: error: #1: its node was lost",
        f"keyneurons: error: 1 job failed (#1); the log is in the run of each; resume with: {again}",
    ]
    assert out.startswith("#0 ")
    assert statuses(tmp_path) == ["FINISHED", "KILLED", "KILLED"]
    refused = command(tmp_path, "-m", f"resume={parent.info.run_id}")
    assert f"'hydra.launcher.address={nodes.address}'" in refused.error
    ended = command(tmp_path, "-m", f"resume={parent.info.run_id}", *cluster, "probe.patience=3,4", **ONE_THREAD)
    assert (ended.status, ended.err) == (0, "")
    first, *lines = ended.out.splitlines()
    assert first == "resuming a sweep: 1 of 2 jobs are done"
    assert sorted(line.partition(" ")[0] for line in lines[:2]) == ["#0", "#1"]
    assert statuses(tmp_path) == ["FINISHED", "FINISHED", "FINISHED", "KILLED"]


@pytest.mark.slow
@pytest.mark.long
def test_a_killed_worker_costs_its_job_and_the_rest_is_interrupted(
    place: Place, tmp_path: Path, environment: dict[str, str]
) -> None:
    jobs = [*place.small, *QUICK, *ENDLESS, "top_k=2,3"]
    with started(tmp_path, environment, "-m", "hydra/launcher=ray", *jobs) as process:
        until(lambda: running(tmp_path, 0) and running(tmp_path, 1) and len(statuses(tmp_path)) == 3, process)
        os.kill(running(tmp_path, 0), signal.SIGKILL)
        until(lambda: list(tmp_path.glob("outputs/*/*/0/failure.json")), process)
        [file] = tmp_path.glob("outputs/*/*/0/failure.json")
        assert json.loads(file.read_text("utf-8")) == {
            "number": 0,
            "line": "its process was killed",
            "traceback": None,
        }
        left = set(psutil.Process(process.pid).children(recursive=True))
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert statuses(tmp_path) == ["KILLED", "KILLED", "KILLED"]
    assert [each for each in psutil.wait_procs(left, timeout=20)[1] if each.status() != psutil.STATUS_ZOMBIE] == []


class started:  # noqa: N801
    """A command in a process group of its own, killed at the end of a block."""

    def __init__(self, folder: Path, environment: dict[str, str], *arguments: str) -> None:
        self._process = subprocess.Popen(
            [str(KEYNEURONS), *arguments],
            cwd=folder,
            env={**environment, **ONE_THREAD},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()


def until(ready: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 150
    while not ready():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)


def running(folder: Path, job: int) -> int:
    """The process of a job once it has opened its run, else 0."""
    files = list(folder.glob(f"outputs/*/*/{job}/run.json"))
    return int(json.loads(files[0].read_text("utf-8"))["tags"]["process"].split()[1]) if files else 0


def finished(folder: Path, job: int) -> bool:
    return any(folder.glob(f"outputs/*/*/{job}/mlflow_run.json"))


def statuses(folder: Path) -> list[str]:
    """The statuses of all runs of the store, the sweep's among them."""
    return sorted(run.info.status for run in runs_in(folder))
