"""The MLflow store on SQLite: sending runs, rejected values, an unreachable server."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from keyneurons.tracking import (
    Store,
    TrackingRefused,
    TrackingUnavailable,
    close_children,
    close_parent,
    log_folder,
    metric_name,
    open_run,
    params_of,
    reopen,
)
from keyneurons.tracking.client import translated_errors
from keyneurons.tracking.sending import LONGEST_PARAM
from keyneurons.tracking.view import VIEW_TAG, saved_view


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/runs/mlflow.db", tmp_path / "runs" / "artifacts", "test")


@pytest.fixture
def away() -> Store:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return Store(f"http://127.0.0.1:{port}", None, "test")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a finished run."""
    folder = tmp_path / "finished"
    folder.mkdir()
    write_results(folder)
    return folder


SPLIT_FACTS = {
    "train": {"sentences": 1, "words": 3, "digest": "a" * 64},
    "dev": {"sentences": 2, "words": 6, "digest": "b" * 64},
    "test": {"sentences": 3, "words": 9, "digest": "c" * 64},
}
FACTS = {
    split: {"sentences": i, "words": 3 * i, "digest": split[0] * 64}
    for i, split in enumerate(("train", "dev", "test"), 1)
}
FACTS = {"name": "one", "parent": None, "choices": {"selection": "correlation"}, "tags": {"site": "mlp"}}


def write_config(folder: Path, config: object = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config or {"top_k": 3, "model": {"bos": None, "tags": [1, 2]}}))
    return folder


def write_results(folder: Path, config: object = None) -> None:
    known = json.loads((folder / "run.json").read_text()) if (folder / "run.json").is_file() else FACTS
    dataset = {"id": "toy", "digest": "d" * 64, "profile": SPLIT_FACTS}
    tags = {**known["tags"], "neuron_sets": "abc"}
    (folder / "run.json").write_text(json.dumps({"start_time": 1000, **known, "tags": tags, "dataset": dataset}))
    write_config(folder, config)
    (folder / "metrics.json").write_text(
        json.dumps({"probe/test_f1/NOUN": 0.5, "per_tag/f1/,": 0.25, "data/tags": 2.0})
    )
    (folder / "summary.md").write_text("### a summary\n")


def test_a_run_is_finished_once_its_folder_is_sent(store: Store, tmp_path: Path) -> None:
    folder = write_config(tmp_path / "run")
    with open_run(store, folder, FACTS) as run:
        assert run.run_id is not None
        assert MlflowClient(store.uri).get_run(run.run_id).info.status == "RUNNING"
        write_results(folder)
        assert run.send(folder)
    kept = MlflowClient(store.uri).get_run(run.run_id)
    assert (kept.info.status, kept.info.run_name) == ("FINISHED", "one")
    assert kept.data.metrics == {"probe/test_f1/NOUN": 0.5, "per_tag/f1/_x2c": 0.25, "data/tags": 2.0}
    assert kept.data.params == {
        "choice.selection": "correlation",
        "top_k": "3",
        "model.bos": "null",
        "model.tags": "[1, 2]",
    }
    assert (
        kept.data.tags.items()
        >= {"site": "mlp", "neuron_sets": "abc", "mlflow.note.content": "### a summary\n"}.items()
    )
    inputs = {given.tags[0].value: given.dataset for given in kept.inputs.dataset_inputs}
    assert {context: (data.name, data.digest, json.loads(data.profile)) for context, data in inputs.items()} == {
        "train": ("toy", "a" * 36, {"sentences": 1, "words": 3}),
        "dev": ("toy", "b" * 36, {"sentences": 2, "words": 6}),
        "test": ("toy", "c" * 36, {"sentences": 3, "words": 9}),
    }
    assert {"metrics.json", "config.yaml"} <= {a.path for a in MlflowClient(store.uri).list_artifacts(run.run_id)}


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("bad"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(1), "KILLED")]
)
def test_a_run_that_ends_early_says_how_and_keeps_its_folder(
    store: Store, tmp_path: Path, error: BaseException, status: str
) -> None:
    folder = write_config(tmp_path / "run")
    with suppress(type(error)), open_run(store, folder, FACTS):
        (folder / "keyneurons.log").write_text("so far")
        raise error
    client = MlflowClient(store.uri)
    [kept] = client.search_runs([client.get_experiment_by_name("test").experiment_id])
    assert kept.info.status == status
    assert (kept.data.params["top_k"], kept.data.tags["site"]) == ("3", "mlp")
    assert (Path(kept.info.artifact_uri.removeprefix("file://")) / "keyneurons.log").read_text() == "so far"


def test_an_error_is_not_hidden_by_a_store_that_went_away(store: Store, tmp_path: Path) -> None:
    def end_early() -> None:
        with open_run(store, write_config(tmp_path / "run"), FACTS):
            (tmp_path / "runs" / "mlflow.db").write_bytes(b"no database at all" * 100)
            raise ValueError("the first")

    with pytest.raises(ValueError, match="the first"):
        end_early()


def test_splits_of_the_same_text_are_one_input(store: Store, finished: Path) -> None:
    facts = json.loads((finished / "run.json").read_text())
    facts["dataset"]["profile"] = dict.fromkeys(SPLIT_FACTS, SPLIT_FACTS["train"])
    (finished / "run.json").write_text(json.dumps(facts))
    [given] = MlflowClient(store.uri).get_run(log_folder(store, finished)).inputs.dataset_inputs
    assert (given.tags[0].value, given.dataset.digest) == ("train, dev, test", "a" * 36)


def test_tables_are_listed_for_the_table_view(store: Store, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (finished / "tables").mkdir()
    table = {"columns": ["tag and rank", "key neuron"], "data": [["NA #1", "mlp.1.5"], ["1 #1", "mlp.1.10"]]}
    (finished / "tables" / "key_neurons.json").write_text(json.dumps(table))
    run = MlflowClient(store.uri).get_run(log_folder(store, finished))
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", store.uri)
    [listed] = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert listed["type"] == "table"
    found = MlflowClient(store.uri).load_table(run.info.experiment_id, listed["path"], run_ids=[run.info.run_id])
    assert found.to_numpy().tolist() == table["data"]


def test_a_damaged_table_is_not_sent(store: Store, finished: Path) -> None:
    (finished / "tables").mkdir()
    (finished / "tables" / "per_tag.json").write_text("{")
    with pytest.raises(ValueError, match=r"per_tag\.json is damaged"):
        log_folder(store, finished)
    assert not (finished.parent / "runs").exists()


def test_many_params_all_arrive(store: Store, finished: Path) -> None:
    write_results(finished, {"many": {f"p{i}": i for i in range(350)}})
    kept = MlflowClient(store.uri).get_run(log_folder(store, finished))
    assert {f"many.p{i}": str(i) for i in range(350)}.items() <= kept.data.params.items()


def test_a_param_that_mlflow_would_cut_is_refused(finished: Path) -> None:
    write_results(finished, {"dataset": {"tags": ["X" * 50] * 200}})
    with pytest.raises(ValueError, match=rf"dataset\.tags .*{LONGEST_PARAM}"):
        params_of(finished)
    write_results(finished, {"name": "x" * LONGEST_PARAM})
    assert params_of(finished) == {"name": "x" * LONGEST_PARAM}


def test_a_folder_is_sent_once(store: Store, finished: Path) -> None:
    run_id = log_folder(store, finished)
    kept = MlflowClient(store.uri).get_run(run_id)
    assert (kept.info.status, kept.info.start_time, kept.data.params["top_k"]) == ("FINISHED", 1000, "3")
    with pytest.raises(ValueError, match=f"already in MLflow, as run {run_id}"):
        log_folder(store, finished)


def test_a_folder_without_results_is_not_sent(store: Store, finished: Path) -> None:
    (finished / "metrics.json").unlink()
    with pytest.raises(ValueError, match=r"contains no finished run: metrics\.json missing"):
        log_folder(store, finished)
    assert not (finished.parent / "runs").exists()


def test_an_unreachable_server_stops_nothing(away: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_config(tmp_path / "run")
    with open_run(away, folder, FACTS) as run:
        write_results(folder)
        assert not run.send(folder)
    assert f"{away.uri} is unreachable" in caplog.text
    with pytest.raises(TrackingUnavailable, match="is unreachable"):
        log_folder(away, folder)
    assert not (folder / "mlflow_run.json").exists()


def test_a_server_lost_during_the_run_stops_nothing(store: Store, away: Store, tmp_path: Path) -> None:
    folder = write_config(tmp_path / "run")
    with open_run(store, folder, FACTS) as run:
        write_results(folder)
        object.__setattr__(run, "store", away)
        assert not run.send(folder)
    assert not (folder / "mlflow_run.json").exists()
    assert log_folder(store, folder) == run.run_id
    assert MlflowClient(store.uri).get_run(run.run_id).info.status == "FINISHED"


@pytest.mark.parametrize("uri", ["mlruns", "file:./mlruns", "file:///tmp/mlruns", "ftp://127.0.0.1/x", ""])
def test_an_address_of_another_kind_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"tracking\.uri must be sqlite:///ABSOLUTE_PATH or the address of a server"):
        Store(uri, None, "test").connect()


def test_what_mlflow_refuses_is_an_error_of_ours(store: Store) -> None:
    client = store.connect()
    with pytest.raises(TrackingRefused, match=r"^MLflow at sqlite:.*nowhere"), translated_errors(store.uri):
        client.get_run("nowhere")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("per_tag/f1/NOUN", "per_tag/f1/NOUN"),
        ("per_tag/f1/.", "per_tag/f1/_x2e"),
        ("per_tag/f1/``", "per_tag/f1/_x60_x60"),
        ("a/$", "a/_x24"),
    ]
    + [
        ("per_tag/f1/Int,Rel", "per_tag/f1/Int_x2cRel"),
        ("per_tag/f1/-LRB-", "per_tag/f1/-LRB-"),
        ("per_tag/f1/...", "per_tag/f1/_x2e_x2e_x2e"),
    ],
)
def test_any_tag_makes_a_metric_that_mlflow_takes(store: Store, key: str, name: str) -> None:
    assert metric_name(key) == name
    client = store.connect()
    run_id = store.create_run(client, "one", {}, None)
    client.log_metric(run_id, name, 1.0)
    assert client.get_run(run_id).data.metrics == {name: 1.0}


def test_children_that_nobody_runs_any_more_are_killed_when_their_sweep_ends(store: Store) -> None:
    client = store.connect()
    parent = store.create_run(client, "parent", {}, None)
    done, left = (store.create_run(client, name, {"fingerprint": name}, parent) for name in ("done", "left"))
    other = store.create_run(client, "another", {}, None)
    client.set_terminated(done, status="FINISHED")
    assert sorted(close_children(store, parent, lambda tag: False)) == [("done", "FINISHED"), ("left", "KILLED")]
    close_parent(store, parent, {"sweep/finished": 1.0}, "KILLED")
    assert [client.get_run(run).info.status for run in (parent, done, left, other)] == [
        "KILLED",
        "FINISHED",
        "KILLED",
        "RUNNING",
    ]
    reopen(store, parent, {"process": "new"})
    again = client.get_run(parent)
    assert (again.info.status, again.data.tags["process"], again.data.metrics["sweep/finished"]) == (
        "RUNNING",
        "new",
        1,
    )


def test_processes_that_create_one_fresh_store_at_once_all_succeed(tmp_path: Path) -> None:
    store = f"Store('sqlite:///{tmp_path}/new/mlflow.db', Path('{tmp_path}/new/artifacts'), 'test')"
    code = (
        "from pathlib import Path; from keyneurons.tracking import Store; "
        f"store = {store}; print(store.create_run(store.connect(), 'one', {{}}, None))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ended = [(process.communicate(timeout=120), process.returncode) for process in started]
    assert [status for _, status in ended] == [0] * 4, ended
    assert len({out for (out, _), _ in ended}) == 4


def test_the_ui_gets_a_view_of_ours_and_an_old_one_is_replaced(store: Store) -> None:
    client = store.connect()
    found = client.get_experiment_by_name("test")
    assert found.tags[VIEW_TAG] == saved_view()
    client.set_experiment_tag(found.experiment_id, VIEW_TAG, "{}")
    assert store.prepare_view() == found.experiment_id
    saved = json.loads(client.get_experiment(found.experiment_id).tags[VIEW_TAG])
    assert saved["name"] == "Key neurons and controls"
    state = json.loads(saved["state"])
    assert state["selectedColumns"][:2] == ["params.`choice.selection`", "params.`site`"]
    assert state["orderByKey"] == "metrics.`worth/neurons`"
    assert len({chart["uuid"] for chart in state["compareRunCharts"]}) == 4
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == {state["compareRunSections"][0]["uuid"]}
