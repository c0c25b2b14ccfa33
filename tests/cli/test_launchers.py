"""Launchers: jobs in other processes share a cache, find what a run in this process finds, and fail in plain words."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from user import Command, Place

from keyneurons.paths import conf_folder

# in this process pytest has its own filters of warnings
pytestmark = pytest.mark.filterwarnings(r"ignore:\s*'hydra/launcher/\w+' is validated against ConfigStore schema")

PARENT = "mlflow.parentRunId"
PLUGINS = {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit", "ray": "ray"}
LAUNCHERS = {
    "joblib": ["hydra.launcher.n_jobs=4"],
    "submitit_local": [],
    "ray": ["hydra.launcher.ray.remote.num_cpus=0.4", "hydra.launcher.ray.init.logging_level=ERROR"],
}
SWEPT = ["selection=correlation,mutual_information", "top_k=2,3"]
# floating-point sums depend on how many threads share them
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
OWN = {"run.json", "mlflow_run.json"}  # of a run, not of its results


def needs(option: str) -> None:
    plugin = f"hydra_{PLUGINS[option]}_launcher"
    if find_spec("hydra_plugins") is None or find_spec(f"hydra_plugins.{plugin}") is None:
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
        assert str(launcher_of(option)["_target_"]).startswith(f"hydra_plugins.hydra_{plugin}_launcher.")


def test_a_job_on_slurm_gets_one_gpu_and_as_many_threads_as_cpus() -> None:
    found = launcher_of("submitit_slurm", "hydra.launcher.partition=gpu", "hydra.launcher.cpus_per_task=8")
    assert (found["partition"], found["gpus_per_node"], found["array_parallelism"]) == ("gpu", 1, 16)
    assert found["setup"] == ["export OMP_NUM_THREADS=${hydra.launcher.cpus_per_task}"]
    assert found["submitit_folder"] == "${hydra.sweep.dir}/.submitit/%j"
    with pytest.raises(Exception, match=r"hydra\.launcher\.partitions"):
        launcher_of("submitit_slurm", "hydra.launcher.partitions=gpu")


def test_a_killed_ray_task_is_not_done_again_behind_our_back() -> None:
    ray = launcher_of("ray")["ray"]
    assert isinstance(ray, dict)
    assert ray["remote"] == {"num_cpus": 1, "num_gpus": 0, "max_retries": 0}


@pytest.mark.parametrize("option", PLUGINS)
def test_an_option_composes_without_a_word_from_hydra(command: Command, tmp_path: Path, option: str) -> None:
    ended = command(tmp_path, "--cfg", "hydra", "-p", "hydra.launcher", f"hydra/launcher={option}")
    assert (ended.status, ended.err) == (0, "")
    assert f"hydra_{PLUGINS[option]}_launcher" in ended.out


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
        f"keyneurons: error: hydra/launcher={option} is not installed; get it with: pip install 'keyneurons[{extra}]'"
    )
    assert not (tmp_path / "mlruns").exists()
