"""Sending what a run's folder holds to MLflow."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.artifacts.metrics import METRICS_FILE, read_curves, read_metrics
from keyneurons.artifacts.plain import read_yaml
from keyneurons.artifacts.run_facts import LOGGED_FILE, RUN_FILE, DatasetFacts, RunFacts, read_logged, read_run_facts
from keyneurons.atomic_files import write_json
from keyneurons.metric_names import LONGEST_PARAM, LONGEST_TEXT, check_name, metric_name
from keyneurons.tracking.client import TrackingRefused, TrackingUnavailable, reaching
from keyneurons.tracking.store import Store, local_artifacts

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_PARAMS, MOST_METRICS = 100, 900  # of one call, by MLflow's limits
NEEDED = (RUN_FILE, "config.yaml", METRICS_FILE, "summary.md")


def send_folder(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Log a finished run's folder: metrics, tags, dataset, description and every file."""
    from mlflow.entities import Metric, RunTag

    facts, dataset = _finished_facts(folder)
    tags = [RunTag(key, value) for key, value in facts.tags.items()]
    tags.append(RunTag("mlflow.note.content", _summary(folder)))
    now = int(time.time() * 1000)
    metrics = [Metric(metric_name(key), float(value), now, 0) for key, value in read_metrics(folder).items()]
    for name, curve in read_curves(folder).items():  # the layer takes the place of the step
        metrics += [Metric(metric_name(name), value, now, int(layer)) for layer, value in curve.items()]
    client.log_batch(run_id, metrics=metrics[:MOST_METRICS], tags=tags)
    for start in range(MOST_METRICS, len(metrics), MOST_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + MOST_METRICS])
    client.log_inputs(run_id, datasets=[_dataset_input(dataset)])
    client.log_artifacts(run_id, str(folder))
    client.set_terminated(run_id, status="FINISHED")
    write_json(folder / LOGGED_FILE, {"run_id": run_id})


def send_params(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Log the run's whole config; the options by their short names come first, since the UI cuts a long _target_."""
    from mlflow.entities import Param

    options = {f"choice.{group}": option for group, option in read_run_facts(folder).choices.items()}
    params = [Param(key, value) for key, value in {**options, **params_of(folder)}.items()]
    for start in range(0, len(params), MOST_PARAMS):
        client.log_batch(run_id, params=params[start : start + MOST_PARAMS])


def log_folder(store: Store, folder: Path) -> str:
    """Send a folder that never reached a server, as a new run or the one that it was when the server went away.

    Everything in the folder is checked before a run is created.

    Args:
        store: where to.
        folder: a run's folder under ``outputs/``.

    Returns:
        The id of the run.

    Raises:
        ValueError: the folder holds no finished run, or one that was sent already, or a file of it is damaged.
        TrackingUnavailable: the server does not answer.
        TrackingRefused: the store does not take it, such as one on a full disk.
    """
    if missing := [name for name in NEEDED if not (folder / name).is_file()]:
        raise ValueError(f"{folder} holds no finished run: {', '.join(missing)} missing")
    if (sent := read_logged(folder)) is not None:
        raise ValueError(f"{folder} is in MLflow already, as run {sent}")
    _only_files(folder)
    facts, _ = _finished_facts(folder)
    _ = params_of(folder), read_metrics(folder), read_curves(folder), _summary(folder)
    _check_writable(folder)
    client = store.connect()
    # a server that went away during the run still holds it as RUNNING
    known = facts.run_id if facts.run_id is not None and facts.uri == store.uri else None
    if known is not None:
        _check_open(store, known, facts, folder)
    run_id = known or store.create_run(client, facts.name, facts.tags, facts.parent, facts.start_time)
    try:
        with reaching(store.uri):
            send_params(client, run_id, folder)
            send_folder(client, run_id, folder)
    except BaseException as error:
        withdraw(store, client, run_id, "FAILED")
        if isinstance(error, TrackingRefused | OSError) and not isinstance(error, TrackingUnavailable):
            raise TrackingRefused(f"{folder} was not sent and can be sent again later: {error}") from error
        raise
    return run_id


def withdraw(store: Store, client: MlflowClient, run_id: str, status: str) -> None:
    """Close a run that could not be sent whole, without its files: on a full disk they take what its status needs.

    Where even that fails the run stays RUNNING until a later command finds its process gone.
    """
    with suppress(TrackingUnavailable, TrackingRefused, OSError), reaching(store.uri):
        if (files := local_artifacts(client.get_run(run_id))) is not None:
            shutil.rmtree(files, ignore_errors=True)
        client.set_terminated(run_id, status=status)


def params_of(folder: Path) -> dict[str, str]:
    """Every value of the run's config under its dotted key.

    Raises:
        ValueError: the file is damaged, or MLflow does not take a key or a value.
    """
    path = folder / "config.yaml"
    config = read_yaml(path)
    if not isinstance(config, dict) or not config:
        raise ValueError(f"{path} is damaged: it is no mapping")
    params = dict(_flatten(config))
    for key, value in params.items():
        try:
            check_name(key)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if len(value) > LONGEST_PARAM:
            raise ValueError(
                f"{path}: {key} is longer than the {LONGEST_PARAM} characters that MLflow keeps of a param"
            )
    return params


def _finished_facts(folder: Path) -> tuple[RunFacts, DatasetFacts]:
    """What ``run.json`` of a run says that has ended.

    Raises:
        ValueError: it does not say on what data.
    """
    facts = read_run_facts(folder)
    if facts.dataset is None:
        raise ValueError(f"{folder / RUN_FILE} is not of a finished run: dataset missing")
    return facts, facts.dataset


def _summary(folder: Path) -> str:
    """The description of a run, cut at a line where it is longer than MLflow keeps.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / "summary.md"
    try:
        text = path.read_text(encoding="utf-8")
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if len(text) <= LONGEST_TEXT:
        return text
    more = f"\n\n(The rest is in {path.name} among the artifacts.)\n"
    return text[: LONGEST_TEXT - len(more)].rpartition("\n")[0] + more


def _only_files(folder: Path) -> None:
    """Refuse what would send files from elsewhere, or never end.

    Raises:
        ValueError: the folder holds a link, or something that is no file.
    """
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent, name) for name in [*folders, *names]):
            mode = path.lstat().st_mode
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "no regular file"
                raise ValueError(f"{path} is {kind}: a run that is sent may hold only files and folders of its own")


def _check_writable(folder: Path) -> None:
    """Try to write a file as long as the one that says at last where the run is: without it a run may be sent twice."""
    trial = folder / f".{LOGGED_FILE}"
    write_json(trial, {"run_id": "0" * 32})
    trial.unlink()


def _check_open(store: Store, run_id: str, facts: RunFacts, folder: Path) -> None:
    """Refuse to write over a run that has ended, or is another.

    Raises:
        ValueError: it is.
    """
    there = store.run(run_id)
    anew = f"to send {folder} as a new run, delete run_id from {folder / RUN_FILE}"
    if there["status"] == "FINISHED":
        raise ValueError(f"run {run_id} in {store.uri} has finished and is not overwritten; {anew}")
    if there["tags"].get("fingerprint") != facts.tags.get("fingerprint"):
        raise ValueError(f"run {run_id} in {store.uri} is another than that of {folder}; {anew}")


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [pair for key, inner in value.items() for pair in _flatten(inner, f"{prefix}.{key}" if prefix else key)]
    return [(prefix, "null" if value is None else str(value))]


def _dataset_input(facts: DatasetFacts) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=facts.id,
        digest=facts.digest[:36],
        source_type="local",
        source=json.dumps({"uri": facts.id}),
        profile=json.dumps(facts.model_dump()["profile"]),
    )
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "train, dev, test")])
