"""The debug configurations and the experiments that are sweeps, on a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
from user import QUICK, Command, Place, client_of, runs_in

import keyneurons
from keyneurons.models.sources import HubModel


def tiny(place: Place, *without: str) -> list[str]:
    return [override for override in place.small if not override.startswith(without)]


def test_debug_default_is_a_whole_run_apart_from_the_others(call: Command, place: Place) -> None:
    ended = call(*place.whole, "debug=default")
    assert ended.status == 0, ended.err
    [run] = runs_in(Path.cwd())
    assert run.data.params["control.random.sets"] == "2"
    experiments = [each.name for each in client_of(Path.cwd()).search_experiments()]
    assert "debug" in experiments
    assert "keyneurons" not in experiments


def test_debug_overrides_an_experiment(call: Command, place: Place) -> None:
    config = ["experiment=ewt_prototype", *tiny(place, "layer"), "layer=2", "debug=default"]
    assert call(*config).status == 0
    [run] = runs_in(Path.cwd())
    assert (run.data.params["site"], run.data.params["dataset.max_sentences.train"]) == ("residual", "60")


def test_a_probe_learns_what_it_is_tested_on(call: Command, place: Place) -> None:
    ended = call(*tiny(place, "top_k"), "top_k=20", "debug=overfit")
    assert ended.status == 0, ended.err
    [run] = runs_in(Path.cwd())
    assert run.data.tags["dataset"] == "conllu, tested on train"
    assert run.data.metrics["probe/test_accuracy"] == run.data.metrics["probe/dev_accuracy"] == 1


@pytest.mark.parametrize(
    ("name", "changes", "jobs"),
    [
        ("seeds", ["layer=2", "top_k=3"], [("seed", str(seed)) for seed in range(5)]),
        ("layer_sweep", ["top_k=3", "hydra.sweeper.params.layer='0,2'"], [("layer", "0"), ("layer", "2")]),
        (
            "method_comparison",
            ["layer=2", "hydra.sweeper.params.top_k='2,3'", "hydra.sweeper.params.selection='correlation,random'"],
            [("top_k", "2"), ("top_k", "3")] * 2,
        ),
    ],
)
def test_an_experiment_that_is_a_sweep(
    call: Command, place: Place, name: str, changes: list[str], jobs: list[tuple[str, str]]
) -> None:
    """It needs no -m and creates one parent run with its children."""
    ended = call(f"experiment={name}", *tiny(place, "layer", "top_k"), *QUICK, *changes)
    assert ended.status == 0, ended.err
    parents = [run for run in runs_in(Path.cwd()) if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs_in(Path.cwd()) if "mlflow.parentRunId" in run.data.tags]
    [parent] = parents
    assert parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    key = jobs[0][0]
    assert sorted((key, run.data.params[key]) for run in children) == sorted(jobs)


def test_models_are_swept_at_relative_depths(call: Command, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HubModel, "_snapshot", lambda *_: place.llama)
    changes = ["hydra.sweeper.params.model='gpt2,pythia_160m'", "hydra.sweeper.params.layer='0.0,0.6'"]
    ended = call("experiment=models", *place.data, "top_k=3", "trainer=cpu", *QUICK, *changes)
    assert ended.status == 0, ended.err
    assert "By relative depth (layer / layers of the model), accuracy peaks at 0." in ended.out
    runs = [run for run in runs_in(Path.cwd()) if "mlflow.parentRunId" in run.data.tags]
    assert {run.data.params["layer"]: run.data.tags["layer"] for run in runs} == {"0.0": "0", "0.6": "2"}
    assert runs[0].info.run_name == "mlp at 0.0 k3 correlation model=gpt2"
    [figures] = Path.cwd().glob("outputs/*/*-sweep/comparison/figures")
    assert {"depth.png", "depth_tags.png"} <= {path.name for path in figures.iterdir()}


def test_an_experiment_that_is_a_sweep_is_resumed(call: Command, place: Place) -> None:
    changes = ["top_k=3", "hydra.sweeper.params.layer='0,2'"]
    assert call("experiment=layer_sweep", *tiny(place, "layer", "top_k"), *QUICK, *changes).status == 0
    [parent] = [run for run in runs_in(Path.cwd()) if "mlflow.parentRunId" not in run.data.tags]
    ended = call("-m", f"resume={parent.info.run_id}")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("resuming a sweep: 2 of 2 jobs are done\n")
    assert len(runs_in(Path.cwd())) == 3


def test_what_an_experiment_sweeps_over_is_not_given_twice(call: Command) -> None:
    ended = call("experiment=layer_sweep", "layer=4,8")
    assert ended.status == 1
    assert "sweeps over layer itself" in ended.error
    assert "hydra.sweeper.params.layer" in ended.error


def test_extract_reads_all_layers_of_such_a_sweep(call: Command, place: Place) -> None:
    changes = ["hydra.sweeper.params.layer='0,3'"]
    ended = call("extract", "experiment=layer_sweep", *tiny(place, "layer"), *changes)
    assert ended.status == 0, ended.err
    assert "layers 0, 3" in ended.out


def test_from_python_a_sweep_is_refused() -> None:
    with pytest.raises(ValueError, match="is a sweep"):
        keyneurons.run("experiment=seeds")
