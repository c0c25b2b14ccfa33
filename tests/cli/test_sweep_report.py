"""The report of a sweep: methods share panels, seeds are replicates."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from user import QUICK, Command, Place, runs_in

from keyneurons.report.comparison.run_table import FinishedRun, run_rows
from keyneurons.report.panels import panels
from keyneurons.runs.finished import find_runs
from keyneurons.tracking import Store

pytestmark = pytest.mark.slow


def store_in(folder: Path) -> Store:
    return Store(f"sqlite:///{folder}/mlruns/mlflow.db", folder / "mlruns" / "artifacts", "keyneurons")


def parent_in(folder: Path) -> str:
    [parent] = [run.info.run_id for run in runs_in(folder) if "mlflow.parentRunId" not in run.data.tags]
    return parent


def written(folder: Path, name: str) -> list[dict[str, str]]:
    [path] = folder.glob(f"outputs/*/*-sweep/comparison/{name}")
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_all_methods_of_a_sweep_share_each_panel(here: Command, place: Place, tmp_path: Path) -> None:
    methods = {"correlation", "mutual_information", "l1_probe"}
    swept = ["selection=correlation,mutual_information,l1_probe", "top_k=2,4", "layer=1,2"]
    ended = here(tmp_path, "-m", *place.small, *QUICK, *swept)
    assert ended.status == 0, ended.err
    assert list(written(tmp_path, "runs.csv")[0])[:5] == ["run", "name", "layer", "choice.selection", "top_k"]
    found = find_runs(store_in(tmp_path), sweep=parent_in(tmp_path))
    assert {run.params["selection.n_nonzero"] for run in found if "l1_probe" in run.name} == {"2", "4"}
    rows = run_rows([FinishedRun(run.id, run.name, run.params, run.metrics, run.tags) for run in found])
    for x, titles in {"top_k": ["layer 1", "layer 2"], "layer": ["k 2", "k 4"]}.items():
        drawn = panels(rows, x, "probe/test_accuracy")
        assert [(panel.title, panel.mixed, set(panel.lines)) for panel in drawn] == [
            (title, (), methods) for title in titles
        ]


def test_seeds_of_a_sweep_are_replicates(here: Command, place: Place, tmp_path: Path) -> None:
    swept = ["selection=correlation,random", "top_k=4", "seed=0,1,2"]
    ended = here(tmp_path, "-m", *place.small, *QUICK, *swept)
    assert ended.status == 0, ended.err
    runs, rows = written(tmp_path, "runs.csv"), written(tmp_path, "configurations.csv")
    assert [len(runs), len(rows)] == [6, 2]
    for row in rows:
        own = [one for one in runs if one["choice.selection"] == row["choice.selection"]]
        assert row["runs"].split() == [one["run"] for one in own]
        assert {one["seed"] for one in own} == {"0", "1", "2"}
        accuracies = [float(one["probe/test_accuracy"]) for one in own]
        assert float(row["probe/test_accuracy"]) == pytest.approx(np.mean(accuracies))
    agree = {row["choice.selection"]: float(row["comparison/seed_jaccard"]) for row in rows}
    assert agree["random"] < agree["correlation"] < 1  # the seed splits the file into train, dev and test
    [path] = tmp_path.glob("outputs/*/*-sweep/comparison/comparison.json")
    best = json.loads(path.read_text("utf-8"))["best"][0]
    assert len(best["runs"]) == 3
    [parent] = [run for run in runs_in(tmp_path) if run.info.run_id == parent_in(tmp_path)]
    assert "6 runs of 2 configurations compared" in parent.data.tags["mlflow.note.content"]
    assert "means over the seeds" in parent.data.tags["mlflow.note.content"]
