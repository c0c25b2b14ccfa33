"""Descriptions of experiments, system metrics, params and best runs of a sweep."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from keyneurons.metric_names import LONGEST_PARAM
from keyneurons.tracking import Store, log_best, log_swept
from keyneurons.tracking.system_metrics import system_metrics

NOTE = "mlflow.note.content"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts", "test")


@pytest.fixture
def run_id(store: Store) -> str:
    return store.create_run(store.connect(), "one", {}, None)


def test_a_new_experiment_is_described_and_a_users_own_text_stays(store: Store) -> None:
    client = store.connect()
    experiment = client.get_experiment_by_name("test")
    assert "`worth/neurons`" in experiment.tags[NOTE]
    client.set_experiment_tag(experiment.experiment_id, NOTE, "mine")
    store.connect()
    store.prepare_view()
    assert client.get_experiment(experiment.experiment_id).tags[NOTE] == "mine"


def test_an_experiment_of_somebody_else_is_not_described(store: Store) -> None:
    client = Store(store.uri, store.artifacts, "another").connect()
    own = client.create_experiment("test")
    store.connect()
    assert NOTE not in client.get_experiment(own).tags


def test_a_long_run_has_system_metrics(store: Store, run_id: str) -> None:
    client = MlflowClient(store.uri)
    with system_metrics(store.uri, run_id, start=0.05, interval=0.1):
        for _ in range(100):
            time.sleep(0.1)
            if client.get_run(run_id).data.metrics:
                break
    names = client.get_run(run_id).data.metrics.keys()
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= names
    assert store.run(run_id)["metrics"] == {}  # they are no results


def test_a_short_run_has_none_and_imports_nothing_for_them(store: Store, run_id: str) -> None:
    module = "mlflow.system_metrics.system_metrics_monitor"
    before = module in sys.modules
    started = time.monotonic()
    with system_metrics(store.uri, run_id):
        pass
    assert time.monotonic() - started < 1
    assert (module in sys.modules) == before
    assert MlflowClient(store.uri).get_run(run_id).data.metrics == {}


def test_a_store_that_went_away_is_logged(store: Store, run_id: str, caplog: pytest.LogCaptureFixture) -> None:
    with system_metrics("nothing://", run_id, start=0.0, interval=0.1):
        time.sleep(0.3)
    assert "system metrics are not logged" in caplog.text


def test_a_sweep_has_its_swept_values_and_best_runs(store: Store, run_id: str) -> None:
    many = tuple(str(i) for i in range(3000))
    log_swept(store, run_id, {"choice.selection": ("correlation", "l1_probe"), "top_k": ("10",), "seed": many})
    log_best(store, run_id, {"accuracy": ("mlp.8 k10 correlation", 0.9)})
    data = MlflowClient(store.uri).get_run(run_id).data
    assert data.params["choice.selection"] == "correlation, l1_probe"
    assert data.params["top_k"] == "10"
    assert data.params["seed"].startswith("3000 values: 0, 1, 2")
    assert len(data.params["seed"]) <= LONGEST_PARAM
    assert data.metrics == {"sweep/best_accuracy": 0.9}
    assert data.tags["best_accuracy"] == "mlp.8 k10 correlation"
