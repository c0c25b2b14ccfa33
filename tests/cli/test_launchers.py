"""Launchers: jobs in other processes share the cache and agree with runs in this process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from safetensors.numpy import load_file
from slurm import missing_binaries, slurm
from threadpoolctl import threadpool_limits
from user import KEYNEURONS, Command, Place, artifacts_of, client_of, runs_in

import keyneurons
from keyneurons.config.paths import conf_folder

# pytest replaces the filters of warnings in this process
pytestmark = pytest.mark.filterwarnings(r"ignore:\s*'hydra/launcher/\w+' is validated against ConfigStore schema")

PARENT = "mlflow.parentRunId"
PLUGINS = {
    "joblib": "hydra_joblib_launcher",
    "submitit_local": "hydra_submitit_launcher",
    "submitit_slurm": "hydra_submitit_launcher",
    "ray": "keyneurons_ray",
}
# floating-point sums depend on the number of threads
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
TWO, THREE = "mlp.2 k2 correlation", "mlp.2 k3 correlation"
OWN = {"run.json", "mlflow_run.json"}  # differ between equal runs
Results = dict[str, dict[str, bytes]]


def needs(option: str) -> None:
    plugin = PLUGINS[option]
    if find_spec(f"hydra_plugins.{plugin}") is None or (option == "ray" and find_spec("ray") is None):
        pytest.skip(f"{plugin} is not installed")


def launcher_of(option: str, *overrides: str) -> dict[str, object]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        composed = compose("config", [f"hydra/launcher={option}", *overrides], return_hydra_config=True)
    found = OmegaConf.to_container(composed.hydra.launcher, resolve=False)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def test_every_option_has_its_plugin() -> None:
    assert {path.stem for path in (conf_folder() / "hydra" / "launcher").glob("*.yaml")} == set(PLUGINS)
    for option, plugin in PLUGINS.items():
        assert str(launcher_of(option)["_target_"]).startswith(f"hydra_plugins.{plugin}.")


def test_a_job_on_slurm_gets_one_gpu_and_as_many_threads_as_cpus() -> None:
    found = launcher_of("submitit_slurm", "hydra.launcher.partition=gpu", "hydra.launcher.cpus_per_task=8")
    assert (found["partition"], found["gpus_per_node"], found["array_parallelism"]) == ("gpu", 1, 16)
    assert found["setup"] == ["export OMP_NUM_THREADS=${hydra.launcher.cpus_per_task}"]
    assert found["submitit_folder"] == "${hydra.sweep.dir}/.submitit/%j"
    with pytest.raises(Exception, match=r"hydra\.launcher\.partitions"):
        launcher_of("submitit_slurm", "hydra.launcher.partitions=gpu")


@pytest.mark.parametrize("option", PLUGINS)
def test_an_option_composes_without_a_word_from_hydra(command: Command, tmp_path: Path, option: str) -> None:
    ended = command(tmp_path, "--cfg", "hydra", "-p", "hydra.launcher", f"hydra/launcher={option}")
    assert (ended.status, ended.err) == (0, "")
    assert PLUGINS[option] in ended.out


@pytest.mark.parametrize(
    ("option", "extra"),
    [("ray", "ray"), ("joblib", "parallel"), ("submitit_slurm", "parallel")],
)
def test_a_launcher_that_is_not_installed_is_told_in_one_line(
    call: Command, place: Place, tmp_path: Path, option: str, extra: str
) -> None:
    absent = "hydra.launcher._target_=hydra_plugins.absent.Launcher"
    ended = call("-m", f"hydra/launcher={option}", absent, *place.small, "top_k=2,3")
    assert ended.status == 1
    assert ended.error == (
        f"keyneurons: error: hydra/launcher={option} is not installed; "
        f"install it with: pip install 'keyneurons[{extra}]'"
    )
    assert not (tmp_path / "mlruns").exists()


@pytest.fixture(scope="module")
def expected(place: Place, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Results:
    """The results of runs in this process, by run name."""
    folder, threads = tmp_path_factory.mktemp("here"), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with contextlib.chdir(folder), mock.patch.dict(os.environ, environment, clear=True), threadpool_limits(1):
            for k in (2, 3):
                keyneurons.run(*place.small, f"top_k={k}", f"cache={folder / 'cache'}")
    finally:
        torch.set_num_threads(threads)
    return results_in(folder)


def results_in(folder: Path) -> Results:
    """The files and tensors of each finished run as bytes, by run name without other swept keys."""
    finished = [run for run in runs_in(folder) if "top_k" in run.data.tags and run.info.status == "FINISHED"]
    found: Results = {}
    for run in finished:
        files = [path for path in artifacts_of(run).iterdir() if path.suffix in {".csv", ".json", ".safetensors"}]
        name = " ".join(str(run.info.run_name).split()[:3])
        found[name] = kept = {p.name: p.read_bytes() for p in files if p.name not in OWN}
        for file in [path for path in files if path.suffix == ".safetensors"]:  # the order of the header varies
            del kept[file.name]
            kept |= {f"{file.stem} {name}": tensor.tobytes() for name, tensor in load_file(file).items()}
    return found


def broken_file(folder: Path) -> Path:
    """A treebank with a syntax error."""
    broken = folder / "broken.conllu"
    broken.write_text("1\tdog\n\n", encoding="utf-8")
    return broken


def statuses_in(folder: Path) -> tuple[str, list[str]]:
    """The status of the parent and those of its children."""
    parent, *children = sorted(runs_in(folder), key=lambda run: PARENT in run.data.tags)
    assert {run.data.tags[PARENT] for run in children} <= {parent.info.run_id}
    return parent.info.status, sorted(run.info.status for run in children)


@pytest.mark.slow
@pytest.mark.long
def test_a_worker_killed_in_the_middle_is_told_and_another_launcher_goes_on(
    environment: dict[str, str], place: Place, tmp_path: Path, command: Command, expected: Results
) -> None:
    needs("joblib")
    needs("submitit_local")
    endless = ["probe.patience=3,100000", "trainer.max_epochs=100000", f"cache={tmp_path / 'cache'}"]
    process = subprocess.Popen(
        [str(KEYNEURONS), "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *place.small, *endless],
        cwd=tmp_path,
        env={**environment, **ONE_THREAD},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        os.kill(worker_of(process, tmp_path), signal.SIGKILL)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    [parent] = [run for run in runs_in(tmp_path) if PARENT not in run.data.tags]
    go_on = f"resume with: keyneurons -m resume={parent.info.run_id}"
    assert process.returncode == 1
    assert err.splitlines()[0] == (  # Python may warn about leaked semaphores of the worker
        f"keyneurons: error: TerminatedWorkerError: the process of a job ended before the job finished; {go_on}"
    )
    assert statuses_in(tmp_path) == ("KILLED", ["FINISHED", "KILLED"])
    logs = [path.read_text("utf-8") for path in tmp_path.glob("outputs/*/*/[01]/keyneurons.log")]
    assert sorted(log.count("reading") for log in logs) == [0, 3]  # train, dev and test, read by one of two jobs
    assert results_in(tmp_path) == {THREE: expected[THREE]}

    both = f"dataset.file={broken_file(tmp_path)},{place.treebank}"
    anew = ["hydra/launcher=submitit_local", "probe.patience=3", "top_k=2", both]
    ended = command(tmp_path, "-m", f"resume={parent.info.run_id}", *anew, **ONE_THREAD)
    assert ended.status == 1
    why, last = ended.err.splitlines()
    assert why.startswith(f"keyneurons: error: #0: {tmp_path / 'broken.conllu'}:1: expected 10 columns")
    assert last == f"keyneurons: error: 1 job failed (#0); the log is in the run of each; {go_on}"
    first, significant, compared = ended.out.splitlines()
    assert first == "resuming a sweep: 0 of 2 jobs are done"
    assert significant.startswith("Significant after Benjamini-Hochberg over the runs")
    assert compared.startswith("comparison: ")
    assert statuses_in(tmp_path) == ("FAILED", ["FAILED", "FINISHED", "FINISHED", "KILLED"])
    assert results_in(tmp_path) == expected
    assert set(expected[THREE]) >= {"metrics.json", "key_neurons.json", "scores mlp.2", "probe weight"}


def worker_of(process: subprocess.Popen[str], folder: Path) -> int:
    """The process id of the worker during the second job, after the first has finished."""
    deadline = time.monotonic() + 120
    while not list(folder.glob("outputs/*/*/0/mlflow_run.json")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(1)  # the status is written last
    [file] = folder.glob("outputs/*/*/1/run.json")
    return int(json.loads(file.read_text("utf-8"))["tags"]["process"].split()[1])


@pytest.mark.slow
@pytest.mark.long
def test_jobs_of_ray_find_what_this_process_finds(
    command: Command, place: Place, tmp_path: Path, expected: Results
) -> None:
    needs("ray")
    given = ["hydra/launcher=ray", *place.small, "top_k=2,3", f"cache={tmp_path / 'cache'}"]
    ended = command(tmp_path, "-m", *given, **ONE_THREAD)
    assert (ended.status, ended.err) == (0, "")
    assert statuses_in(tmp_path) == ("FINISHED", ["FINISHED", "FINISHED"])
    assert results_in(tmp_path) == expected


@pytest.fixture
def cluster(tmp_path: Path) -> Generator[dict[str, str]]:
    """Slurm on this machine."""
    needs("submitit_slurm")
    if missing := missing_binaries():
        pytest.skip(f"Slurm is not installed: {', '.join(missing)}")
    with slurm(tmp_path / "slurm") as variables:
        yield variables


@pytest.mark.slow
def test_a_job_on_a_real_slurm_finds_what_this_process_finds(
    command: Command, place: Place, tmp_path: Path, cluster: dict[str, str], expected: Results
) -> None:
    own = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=here", "hydra.launcher.mem_gb=4"]
    own += ["hydra.launcher.cpus_per_task=1"]
    given = [*place.small, "top_k=2", f"cache={tmp_path / 'cache'}"]
    ended = command(tmp_path, "-m", *own, *given, **ONE_THREAD, **cluster)
    # submitit needs accounting, which this cluster lacks
    said = [line for line in ended.err.splitlines() if "accounting" not in line and "submitit WARNING" not in line]
    assert (ended.status, said) == (0, [])
    assert statuses_in(tmp_path) == ("FINISHED", ["FINISHED"])
    assert results_in(tmp_path) == {TWO: expected[TWO]}
    [script] = [path.read_text("utf-8") for path in tmp_path.glob("outputs/*/*/.submitit/*/*_submission.sh")]
    for line in ("--partition=here", "--gpus-per-node=1", "--cpus-per-task=1", "--mem=4GB"):
        assert f"#SBATCH {line}\n" in script
    assert "\nexport OMP_NUM_THREADS=1\n" in script


def test_a_sweep_with_a_job_that_still_runs_is_not_resumed(call: Command, place: Place, tmp_path: Path) -> None:
    """Jobs of Slurm and submitit continue after the command has ended."""
    assert call(*place.small).status == 0
    [run] = runs_in(tmp_path)
    client = client_of(tmp_path)

    def opened(name: str, **tags: str) -> str:
        return str(client.create_run(run.info.experiment_id, tags=tags, run_name=name).info.run_id)

    parent = opened("sweep", overrides="top_k=2,3")
    client.set_terminated(parent, status="KILLED")
    gone = opened("gone", **{PARENT: parent, "process": f"process 4194305 on {socket.gethostname()}"})
    lives = f"process {os.getppid()} on {socket.gethostname()}"
    child = opened("one", **{PARENT: parent, "process": lives})
    refused = call("-m", f"resume={parent}")
    assert refused.error == f"keyneurons: error: a job of sweep {parent} is still running: one ({lives})"
    assert [client.get_run(run).info.status for run in (parent, child, gone)] == ["KILLED", "RUNNING", "RUNNING"]
