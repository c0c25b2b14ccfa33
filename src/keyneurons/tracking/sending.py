"""Sending what a run's folder holds to MLflow."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from keyneurons.files import write_json
from keyneurons.metric_names import metric_name
from keyneurons.tracking.client import reaching
from keyneurons.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

LONGEST_PARAM = 6000
MOST_PARAMS, MOST_METRICS = 100, 900  # of one call, by MLflow's limits
RUN_FILE = "run.json"
LAYERS_FILE = "layers.json"
LOGGED_FILE = "mlflow_run.json"


def send_folder(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Log a finished run's folder: metrics, tags, dataset, description and every file."""
    from mlflow.entities import Metric, RunTag

    facts = _read_json(folder / RUN_FILE)
    tags = [RunTag(key, value) for key, value in facts["tags"].items()]
    tags.append(RunTag("mlflow.note.content", (folder / "summary.md").read_text(encoding="utf-8")))
    now = int(time.time() * 1000)
    found = _read_json(folder / "metrics.json")
    metrics = [Metric(metric_name(key), float(value), now, 0) for key, value in found.items()]
    if (folder / LAYERS_FILE).is_file():  # curves: the layer takes the place of the step
        curves = _read_json(folder / LAYERS_FILE)
        metrics += [
            Metric(metric_name(k), v, now, int(layer)) for k, curve in curves.items() for layer, v in curve.items()
        ]
    client.log_batch(run_id, metrics=metrics[:MOST_METRICS], tags=tags)
    for start in range(MOST_METRICS, len(metrics), MOST_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + MOST_METRICS])
    client.log_inputs(run_id, datasets=[_dataset_input(facts["dataset"])])
    client.log_artifacts(run_id, str(folder))
    client.set_terminated(run_id, status="FINISHED")
    write_json(folder / LOGGED_FILE, {"run_id": run_id})


def send_params(client: MlflowClient, run_id: str, folder: Path) -> None:
    """Log the run's whole config; the options by their short names come first, since the UI cuts a long _target_."""
    from mlflow.entities import Param

    options = {f"choice.{group}": option for group, option in _read_json(folder / RUN_FILE)["choices"].items()}
    params = [Param(key, value) for key, value in {**options, **params_of(folder)}.items()]
    for start in range(0, len(params), MOST_PARAMS):
        client.log_batch(run_id, params=params[start : start + MOST_PARAMS])


def log_folder(store: Store, folder: Path) -> str:
    """Send a folder that never reached a server, as a new run or the one that it was when the server went away.

    Args:
        store: where to.
        folder: a run's folder under ``outputs/``.

    Returns:
        The id of the run.

    Raises:
        ValueError: the folder holds no finished run, or one that was sent already.
        TrackingUnavailable: the server does not answer.
    """
    if missing := [n for n in (RUN_FILE, "config.yaml", "metrics.json", "summary.md") if not (folder / n).is_file()]:
        raise ValueError(f"{folder} holds no finished run: {', '.join(missing)} missing")
    if (folder / LOGGED_FILE).is_file():
        raise ValueError(f"{folder} is in MLflow already, as run {_read_json(folder / LOGGED_FILE)['run_id']}")
    client = store.connect()
    facts = _read_json(folder / RUN_FILE)
    # a server that went away during the run still holds it as RUNNING
    known = facts.get("run_id") if facts.get("uri") == store.uri else None
    run_id = known or store.create_run(client, facts["name"], facts["tags"], facts["parent"], facts["start_time"])
    with reaching(store.uri):
        send_params(client, run_id, folder)
        send_folder(client, run_id, folder)
    return run_id


def params_of(folder: Path) -> dict[str, str]:
    """Every value of the run's config under its dotted key.

    Raises:
        ValueError: a value is longer than MLflow keeps.
    """
    params = dict(_flatten(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))))
    if too_long := [key for key, value in params.items() if len(value) > LONGEST_PARAM]:
        raise ValueError(f"{too_long[0]} is longer than the {LONGEST_PARAM} characters that MLflow keeps of a param")
    return params


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [pair for key, inner in value.items() for pair in _flatten(inner, f"{prefix}.{key}" if prefix else key)]
    return [(prefix, "null" if value is None else str(value))]


def _dataset_input(facts: Mapping[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=facts["id"],
        digest=facts["digest"][:36],
        source_type="local",
        source=json.dumps({"uri": facts["id"]}),
        profile=json.dumps(facts["profile"]),
    )
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "train, dev, test")])


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
