"""A sweep in the MLflow UI: run names with the swept keys, description, working links."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import pytest
from user import Command, Place, runs_in

from keyneurons.cli.commands import _config
from keyneurons.runs.run_name import run_name
from keyneurons.tracking import Store, describe
from keyneurons.tracking.sweeps import MAX_COMPARED

PARENT = "mlflow.parentRunId"
CHOICES = {"selection": "l1_probe", "model": "smollm2_135m", "dataset": "conllu"}


@pytest.mark.parametrize(
    ("swept", "more"),
    [
        ((), ""),
        (("layer", "selection", "top_k"), ""),
        (("seed",), " seed=3"),
        (("model", "probe.optimizer.lr"), " model=smollm2_135m probe.optimizer.lr=0.5"),
        (("selection.n_nonzero", "dataset.file"), " selection.n_nonzero=7 dataset.file=b.conllu"),
    ],
)
def test_the_name_of_a_run_says_what_its_sweep_varies(swept: tuple[str, ...], more: str) -> None:
    overrides = [
        "selection=l1_probe",
        "selection.n_nonzero=7",
        "seed=3",
        "probe.optimizer.lr=0.5",
        "dataset=conllu",
        "dataset.file=a/b.conllu",
    ]
    assert run_name(_config(overrides), CHOICES, swept) == f"mlp.8 k10 l1_probe{more}"


def test_a_described_sweep_links_to_its_page_and_to_mlflows_pages_of_its_runs(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, "test")
    client = store.connect()
    parent = store.create_run(client, "sweep", {}, None)
    client.log_param(parent, "choice.selection", "correlation, l1_probe")
    client.log_param(parent, "seed", "0, 1")
    runs = ["a" * 32, "b" * 32]
    describe(store, parent, "### two\n", runs, "comparison/report.html")
    told = client.get_run(parent).data.tags["mlflow.note.content"]
    assert told.startswith("[")
    assert told.endswith(")\n\n### two\n")
    assert f"](#/experiments/1/runs/{parent}/artifacts/comparison/report.html)" in told
    table = f"#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey={parent}"
    assert f"]({table})" in told
    assert f"]({table}&compareRunsMode=CHART)" in told
    assert f'](#/compare-runs?runs=["{runs[0]}", "{runs[1]}"]&experiments=["1"])' in unquote(told)
    state = json.loads(client.get_experiment("1").tags[f"mlflow.sharedViewState.{parent}"])
    assert state["searchFilter"] == f"tags.`mlflow.parentRunId` = '{parent}'"
    assert state["compareRunCharts"][0]["selectedParams"] == ["choice.selection", "seed"]
    describe(store, parent, "### many\n", runs * MAX_COMPARED, "comparison/report.html")
    assert "compare-runs" not in client.get_run(parent).data.tags["mlflow.note.content"]


@pytest.mark.slow
def test_a_sweep_over_seeds_has_runs_of_different_names_and_says_what_it_found(
    here: Command, place: Place, tmp_path: Path
) -> None:
    ended = here(tmp_path, "-m", *place.small, "reliability.halves=0", "seed=0,1")
    assert ended.status == 0, ended.err
    parent, *children = runs_in(tmp_path)
    assert {run.data.tags[PARENT] for run in children} == {parent.info.run_id}
    names = sorted(run.info.run_name for run in children)
    assert names == ["mlp.2 k3 correlation seed=0", "mlp.2 k3 correlation seed=1"]
    assert all(f"#{number} {name}: " in ended.out for number, name in enumerate(names))
    told = parent.data.tags["mlflow.note.content"]
    assert "| Highest accuracy |" in told
    assert "- runs: 2 finished" in told
    assert all(f'"{run.info.run_id}"' in unquote(told) for run in children)
