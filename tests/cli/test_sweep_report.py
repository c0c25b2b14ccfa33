"""The report of a sweep: methods share panels although an argument follows from top_k."""

from __future__ import annotations

import csv
from pathlib import Path

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
