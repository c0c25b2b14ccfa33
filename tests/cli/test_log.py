"""``keyneurons log`` sends complete runs only, no files from elsewhere, and overwrites nothing."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil

import pytest
import yaml
from damaging import damage
from user import QUICK

from keyneurons.runs.finished import log_finished
from keyneurons.tracking import Store, open_run


@pytest.fixture(scope="module")
def finished(place, here, tmp_path_factory):
    """The folder of a finished run that was not sent."""
    home = tmp_path_factory.mktemp("finished")
    ended = here(home, *place.small, *QUICK, "hydra.run.dir=done")
    assert ended.status == 0, ended.err
    folder = home / "done"
    (folder / "mlflow_run.json").unlink()
    facts = json.loads((folder / "run.json").read_text("utf-8"))
    del facts["run_id"], facts["uri"]
    (folder / "run.json").write_text(json.dumps(facts), "utf-8")
    return folder


@pytest.fixture
def unsent(finished, tmp_path):
    """A copy of that folder, and a store with an empty experiment."""
    store = Store(f"sqlite:///{tmp_path / 'other.db'}", tmp_path / "other", "keyneurons")
    store.connect()
    return shutil.copytree(finished, tmp_path / "done"), store


def refused(folder, store, *told):
    with pytest.raises((ValueError, OSError)) as error:
        log_finished(store, folder)
    assert "\n" not in str(error.value)
    assert all(each in str(error.value) for each in told), str(error.value)
    assert store.search("keyneurons", "") == []
    assert not (folder / "mlflow_run.json").exists()


def test_a_whole_folder_is_sent_once(unsent):
    folder, store = unsent
    run_id = log_finished(store, folder)
    (run,) = store.search("keyneurons", "")
    assert (run["id"], run["status"]) == (run_id, "FINISHED")
    with pytest.raises(ValueError, match=f"is already in MLflow, as run {run_id}"):
        log_finished(store, folder)


@pytest.mark.parametrize("name", ["run.json", "config.yaml", "metrics.json", "summary.md"])
def test_each_file_is_needed_whole(unsent, name):
    folder, store = unsent
    whole = (folder / name).read_bytes()
    damaged = [b"[]", b"", b"\xff\xfe", b"\x00", b"null", b"{"]
    if name != "summary.md":
        damaged += [whole[: len(whole) // 2], whole[:-20]]
    for content in damaged if name != "summary.md" else [b"\xff\xfe"]:
        (folder / name).write_bytes(content)
        refused(folder, store, str(folder / name))
    (folder / name).unlink()
    refused(folder, store, str(folder), f"{name} missing")


def test_yaml_that_would_never_end(unsent):
    folder, store = unsent
    bomb = "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*{'a' if i == 0 else f'b{i - 1}'}]\n" for i in range(30))
    (folder / "config.yaml").write_text(bomb)
    refused(folder, store, "config.yaml is damaged", "alias")


def test_damage_to_the_facts_of_60_runs(unsent):
    """Each raises an error that names the file and creates no run, or is sent with its contents."""
    folder, store = unsent
    draw, sent = random.Random(14), 0
    whole = {name: json.loads((folder / name).read_text("utf-8")) for name in ("run.json", "metrics.json")}
    for _ in range(60):
        name = draw.choice(list(whole))
        changed = damage(whole[name], draw)
        (folder / name).write_text(json.dumps(changed), "utf-8")
        before = len(store.search("keyneurons", ""))
        told = ""
        try:
            run = store.run(log_finished(store, folder))
        except ValueError as error:
            told = str(error)
        if told:
            assert name in told, told
            assert len(store.search("keyneurons", "")) == before
        else:
            sent += 1
            metrics = changed if name == "metrics.json" else whole["metrics.json"]
            assert run["status"] == "FINISHED"
            assert len(run["metrics"]) >= len(metrics)
            (folder / "mlflow_run.json").unlink()
        (folder / name).write_text(json.dumps(whole[name]), "utf-8")
    assert 3 < sent < 57


def test_nothing_from_outside_is_sent(unsent, tmp_path):
    folder, store = unsent
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (folder / "figures" / "link.png").symlink_to(secret)
    refused(folder, store, str(folder / "figures" / "link.png"), "symbolic link")
    (folder / "figures" / "link.png").unlink()
    (folder / "more").symlink_to(tmp_path)
    refused(folder, store, str(folder / "more"), "symbolic link")
    (folder / "more").unlink()
    os.mkfifo(folder / "pipe")  # reading a pipe would never end
    refused(folder, store, str(folder / "pipe"), "a special file")


def test_a_finished_run_is_not_overwritten(unsent, tmp_path):
    folder, store = unsent
    copy = shutil.copytree(folder, tmp_path / "copy")
    run_id = log_finished(store, folder)
    before = store.run(run_id)
    facts = json.loads((copy / "run.json").read_text("utf-8"))
    (copy / "run.json").write_text(json.dumps({**facts, "run_id": run_id, "uri": store.uri}), "utf-8")
    with pytest.raises(ValueError, match=f"run {run_id} .* has finished and is not overwritten; to send"):
        log_finished(store, copy)
    assert store.run(run_id) == before


def test_another_run_is_not_taken_for_it(unsent):
    folder, store = unsent
    other = store.create_run(store.connect(), "another", {"fingerprint": "0"}, None)
    facts = json.loads((folder / "run.json").read_text("utf-8"))
    (folder / "run.json").write_text(json.dumps({**facts, "run_id": other, "uri": store.uri}), "utf-8")
    with pytest.raises(ValueError, match=f"run {other} .* has another configuration than"):
        log_finished(store, folder)
    assert store.run(other)["status"] == "RUNNING"
    assert store.run(other)["metrics"] == {}


def test_a_store_on_a_full_disk_gets_the_run_later(place, call, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "mlruns/artifacts/x.png")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifacts", full)
        ended = call(*place.small, *QUICK, "hydra.run.dir=a run")
    assert ended.status == 1
    assert "No space left on device: 'mlruns/artifacts/x.png'" in ended.error
    assert ended.error.endswith(f"send it later with: keyneurons log '{tmp_path / 'a run'}'")
    sent = call("log", "a run")
    assert sent.status == 0, sent.err
    (run,) = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db").search_runs(["1"])
    assert run.info.status == "FINISHED"


def changed(folder, name, *keys, value):
    """Change a value in a JSON or YAML file of a run."""
    path = folder / name
    whole = yaml.safe_load(path.read_text("utf-8"))  # JSON is YAML
    inner = whole
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(yaml.safe_dump(whole) if name == "config.yaml" else json.dumps(whole), "utf-8")
    return str(path)


def test_a_folder_of_an_older_version_is_refused_in_one_line(unsent):
    folder, store = unsent
    facts = json.loads((folder / "run.json").read_text("utf-8"))
    older = {split: {"sentences": 1, "words": 2} for split in facts["dataset"]["profile"]}
    changed(folder, "run.json", "dataset", "profile", value=older)
    refused(folder, store, "run.json does not fit this version", "digest")


def test_a_folder_without_tables_and_model_is_sent(unsent):
    folder, store = unsent
    shutil.rmtree(folder / "tables")
    shutil.rmtree(folder / "model")
    (folder / "curves.json").unlink()
    run = store.run(log_finished(store, folder))
    assert "mlflow.loggedArtifacts" not in run["tags"]


REFUSED_NAMES = ["", ".", "é?", "../x", "a//b", "/a", "a\n", "n" * 251, "\ud800"]


def test_names_that_mlflow_refuses_are_refused_first(unsent):
    folder, store = unsent
    whole = {name: (folder / name).read_bytes() for name in ("run.json", "config.yaml")}
    for key in REFUSED_NAMES:
        refused(folder, store, changed(folder, "run.json", "tags", key, value="x"))
        (folder / "run.json").write_bytes(whole["run.json"])
        if key not in {"", ".", "/a", "../x"}:  # names with the prefix choice. are taken
            refused(folder, store, changed(folder, "run.json", "choices", key, value="x"))
            (folder / "run.json").write_bytes(whole["run.json"])
    for key in ["we?ird", "w" * 400, "a\n", "a//b"]:
        refused(folder, store, changed(folder, "config.yaml", "selection", key, value=1))
        (folder / "config.yaml").write_bytes(whole["config.yaml"])


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("run.json", ["tags", "layer"], "x" * 8001),
        ("run.json", ["tags", "layer"], "\ud800"),
        ("run.json", ["tags", "mlflow.runName"], "another"),
        ("run.json", ["choices", "model"], "x" * 6001),
        ("run.json", ["choices", "model"], "\ud800"),
        ("run.json", ["dataset", "id"], "x" * 501),
        ("run.json", ["name"], "x" * 251),
        ("run.json", ["start_time"], 2**63),
        ("config.yaml", ["selection", "more"], "x" * 6001),
        ("metrics.json", ["m" * 251], 1.0),
        ("metrics.json", ["m" + "é" * 70], 1.0),  # short enough before escaping
        ("key_neurons.json", ["layers"], []),
    ],
)
def test_values_that_mlflow_refuses_are_refused_first(unsent, name, keys, value):
    folder, store = unsent
    refused(folder, store, changed(folder, name, *keys, value=value))


def test_what_a_run_found_is_needed_whole(unsent):
    folder, store = unsent
    metrics = (folder / "metrics.json").read_bytes()
    (folder / "metrics.json").write_text("{}\n")
    refused(folder, store, str(folder / "metrics.json"))
    (folder / "metrics.json").write_bytes(metrics)
    for name in ("key_neurons.json", "scores.safetensors"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:100])
        refused(folder, store, str(folder / name))
        (folder / name).unlink()
        refused(folder, store, str(folder), f"{name} missing")
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize("name", ["mlflow_run.json", "curves.json", "scores.safetensors"])
def test_a_folder_in_the_place_of_a_file(unsent, name):
    folder, store = unsent
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    with pytest.raises(ValueError, match=f"{name} is not a regular file"):
        log_finished(store, folder)
    assert store.search("keyneurons", "") == []


def test_a_folder_that_takes_no_file_is_not_sent(unsent, monkeypatch):
    """Otherwise its id could not be recorded, and each attempt would create a run."""
    folder, store = unsent

    def read_only(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", read_only)
        refused(folder, store, "Read-only file system", str(folder))


@pytest.fixture
def full_disk(monkeypatch, tmp_path):
    """A disk that is full in the first artifact; the database cannot write until it is deleted."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    close = MlflowClient.set_terminated
    filling = tmp_path / "mlruns" / "artifacts"

    def log_artifacts(client, run_id, folder):
        half = filling / run_id / "artifacts" / "config.yaml"
        half.parent.mkdir(parents=True)
        half.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(half))

    def set_terminated(client, run_id, **status):
        if any(path.is_file() for path in filling.rglob("*")):
            raise MlflowException("(sqlite3.OperationalError) database or disk is full\n[SQL: UPDATE runs]")
        close(client, run_id, **status)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifacts", log_artifacts)
        patch.setattr(MlflowClient, "set_terminated", set_terminated)
        yield


@pytest.mark.usefixtures("full_disk")
def test_no_run_stays_running_on_a_full_disk(finished, place, call, tmp_path):
    from mlflow import MlflowClient

    ended = call(*place.small, *QUICK, "hydra.run.dir=a")
    assert "No space left on device" in ended.error
    ended = call("log", str(finished))
    assert f"{finished} was not sent; it can be sent later" in ended.error
    assert "No space left on device" in ended.error
    assert "\n" not in ended.error
    runs = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db").search_runs(["1"])
    assert [run.info.status for run in runs] == ["FAILED", "FAILED"]


@pytest.mark.parametrize("step", ["keyneurons.tracking.run.send_params", "keyneurons.tracking.run.write_json"])
def test_a_run_that_ends_as_it_is_opened_is_closed(unsent, monkeypatch, step):
    folder, store = unsent
    before = iter([None])  # run.json is also written before the run is created

    def full(*_):
        if step.endswith("write_json") and next(before, full) is None:
            return
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(step, full)
    facts = {"name": "a", "parent": None, "choices": {}, "tags": {}}
    with pytest.raises(OSError, match="No space left"), open_run(store, folder, facts):
        raise AssertionError
    assert [run["status"] for run in store.search("keyneurons", "")] == ["FAILED"]


def test_a_description_longer_than_mlflow_keeps_says_where_the_rest_is(unsent):
    folder, store = unsent
    (folder / "summary.md").write_text("a line of a summary\n" * 1000)
    text = store.run(log_finished(store, folder))["tags"]["mlflow.note.content"]
    assert 7900 < len(text) <= 8000
    assert text.endswith("a line of a summary\n\n(Truncated; the artifact summary.md has the full text.)\n")
