"""Sends the folder of a run to MLflow."""

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
from keyneurons.artifacts.run_tables import mlflow_tables
from keyneurons.atomic_files import write_json
from keyneurons.metric_names import LONGEST_PARAM, LONGEST_TEXT, check_name, metric_name
from keyneurons.records import Split
from keyneurons.tracking.client import TrackingRefused, TrackingUnavailable, translated_errors
from keyneurons.tracking.model import send_model
from keyneurons.tracking.store import Store, local_artifacts

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_PARAMS, MAX_METRICS = 100, 900  # MLflow's limits per call
NEEDED = (RUN_FILE, "config.yaml", METRICS_FILE, "summary.md")


def send_folder(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Log the folder of a finished run: metrics, tags, datasets, description, files and model."""
    from mlflow.entities import Metric, RunTag

    facts, dataset = _finished_facts(folder)
    tags = [RunTag(key, value) for key, value in facts.tags.items()]
    tags.append(RunTag("mlflow.note.content", _summary(folder)))
    if tables := [{"path": name, "type": "table"} for name in mlflow_tables(folder)]:
        tags.append(RunTag("mlflow.loggedArtifacts", json.dumps(tables)))  # of the table view
    now, results = int(time.time() * 1000), read_metrics(folder)
    metrics = [Metric(metric_name(key), float(value), now, 0) for key, value in results.items()]
    for name, curve in read_curves(folder).items():
        metrics += [Metric(metric_name(name), value, now, int(step)) for step, value in curve.items()]
    client.log_batch(run_id, metrics=metrics[:MAX_METRICS], tags=tags)
    for start in range(MAX_METRICS, len(metrics), MAX_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS])
    client.log_inputs(run_id, datasets=_dataset_inputs(dataset))
    client.log_artifacts(run_id, str(folder))
    send_model(client, run_id, folder, results)
    client.set_terminated(run_id, status="FINISHED")
    write_json(folder / LOGGED_FILE, {"run_id": run_id})


def send_params(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Log the chosen options, then the configuration, whose long targets the UI truncates."""
    from mlflow.entities import Param

    options = {f"choice.{group}": option for group, option in read_run_facts(folder).choices.items()}
    params = [Param(key, value) for key, value in {**options, **params_of(folder)}.items()]
    for start in range(0, len(params), MAX_PARAMS):
        client.log_batch(run_id, params=params[start : start + MAX_PARAMS])


def log_folder(store: Store, folder: Path) -> str:
    """Send the folder of an unsent run, as a new run or into the run that was opened at its start.

    All files in the folder are validated before a run is created.

    Args:
        store: the destination.
        folder: a run's folder under ``outputs/``.

    Returns:
        The MLflow id of the run.

    Raises:
        ValueError: if the folder contains no finished run, the run was already sent, or a file is
            damaged.
        TrackingUnavailable: if the server is unreachable.
        TrackingRefused: if the store rejects the run, for example on a full disk.
    """
    if missing := [name for name in NEEDED if not (folder / name).is_file()]:
        raise ValueError(f"{folder} contains no finished run: {', '.join(missing)} missing")
    if (sent := read_logged(folder)) is not None:
        raise ValueError(f"{folder} is already in MLflow, as run {sent}")
    _check_files(folder)
    facts, _ = _finished_facts(folder)
    _ = params_of(folder), read_metrics(folder), read_curves(folder), _summary(folder), mlflow_tables(folder)
    _check_writable(folder)
    client = store.connect()
    # if the server became unreachable during the run, it still lists the run as RUNNING
    opened = facts.run_id if facts.run_id is not None and facts.uri == store.uri else None
    if opened is not None:
        _check_open(store, opened, facts, folder)
    run_id = opened or store.create_run(client, facts.name, facts.tags, facts.parent, facts.start_time)
    try:
        with translated_errors(store.uri):
            send_params(client, run_id, folder)
            send_folder(client, run_id, folder)
    except BaseException as error:
        withdraw(store, client, run_id, "FAILED")
        if isinstance(error, TrackingRefused | OSError) and not isinstance(error, TrackingUnavailable):
            raise TrackingRefused(f"{folder} was not sent; it can be sent later: {error}") from error
        raise
    return run_id


def withdraw(store: Store, client: MlflowClient, run_id: str, status: str) -> None:
    """Close a partly sent run and delete its files, since its status needs space on a full disk.

    If this fails as well, the run stays RUNNING until a later command marks it as KILLED.
    """
    with suppress(TrackingUnavailable, TrackingRefused, OSError), translated_errors(store.uri):
        if (files := local_artifacts(client.get_run(run_id))) is not None:
            shutil.rmtree(files, ignore_errors=True)
        client.set_terminated(run_id, status=status)


def params_of(folder: Path) -> dict[str, str]:
    """The configuration of a run as a flat mapping with dotted keys.

    Raises:
        ValueError: if the file is damaged, or MLflow rejects a key or a value.
    """
    path = folder / "config.yaml"
    config = read_yaml(path)
    if not isinstance(config, dict) or not config:
        raise ValueError(f"{path} is damaged: it is not a mapping")
    params = dict(_flatten(config))
    for key, value in params.items():
        try:
            check_name(key)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if len(value) > LONGEST_PARAM:
            raise ValueError(f"{path}: {key} has {len(value)} characters; MLflow params have at most {LONGEST_PARAM}")
    return params


def _finished_facts(folder: Path) -> tuple[RunFacts, DatasetFacts]:
    """The contents of ``run.json`` of a finished run.

    Raises:
        ValueError: if the file has no dataset, since the run did not finish.
    """
    facts = read_run_facts(folder)
    if facts.dataset is None:
        raise ValueError(f"{folder / RUN_FILE} is not from a finished run: dataset missing")
    return facts, facts.dataset


def _summary(folder: Path) -> str:
    """The description of a run, truncated at a line break to the length that MLflow allows.

    Raises:
        ValueError: if the file is damaged.
    """
    path = folder / "summary.md"
    try:
        text = path.read_text(encoding="utf-8")
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if len(text) <= LONGEST_TEXT:
        return text
    note = f"\n\n(Truncated; the artifact {path.name} has the full text.)\n"
    return text[: LONGEST_TEXT - len(note)].rpartition("\n")[0] + note


def _check_files(folder: Path) -> None:
    """Check that the folder contains only regular files and folders.

    Links could send files from elsewhere; reading a pipe might never end.

    Raises:
        ValueError: if it contains a link or a special file.
    """
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent, name) for name in [*folders, *names]):
            mode = path.lstat().st_mode
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                kind = "a symbolic link" if stat.S_ISLNK(mode) else "a special file"
                raise ValueError(f"{path} is {kind}; the folder of a run must contain only regular files and folders")


def _check_writable(folder: Path) -> None:
    """Check that the run's id can be written after sending, so that no run is sent twice."""
    trial = folder / f".{LOGGED_FILE}"
    write_json(trial, {"run_id": "0" * 32})
    trial.unlink()


def _check_open(store: Store, run_id: str, facts: RunFacts, folder: Path) -> None:
    """Check that a run in the store is unfinished and has the same fingerprint as the folder.

    Raises:
        ValueError: if it is not.
    """
    run = store.run(run_id)
    hint = f"to send {folder} as a new run, delete run_id from {folder / RUN_FILE}"
    if run["status"] == "FINISHED":
        raise ValueError(f"run {run_id} in {store.uri} has finished and is not overwritten; {hint}")
    if run["tags"].get("fingerprint") != facts.tags.get("fingerprint"):
        raise ValueError(f"run {run_id} in {store.uri} has another configuration than {folder}; {hint}")


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [pair for key, inner in value.items() for pair in _flatten(inner, f"{prefix}.{key}" if prefix else key)]
    return [(prefix, "null" if value is None else str(value))]


def _dataset_inputs(facts: DatasetFacts) -> list[Any]:
    """The splits as datasets with their context; splits of the same text are one dataset."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    contexts: dict[str, list[Split]] = {}
    for split, own in facts.profile.items():
        contexts.setdefault(own.digest, []).append(split)
    inputs = []
    for digest, splits in contexts.items():
        own = facts.profile[splits[0]]
        profile = json.dumps({"sentences": own.sentences, "words": own.words})
        source = json.dumps({"uri": facts.id})
        dataset = Dataset(facts.id, digest[:36], source_type="local", source=source, profile=profile)
        inputs.append(DatasetInput(dataset, tags=[InputTag("mlflow.data.context", ", ".join(splits))]))
    return inputs
