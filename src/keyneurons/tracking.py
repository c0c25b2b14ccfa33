"""Everything that touches MLflow: the store, a run around a job, and sending a run's folder to it."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import yaml
from filelock import FileLock

from keyneurons.files import write_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)

SQLITE = "sqlite:///"
SCHEMES = (SQLITE, "http://", "https://", "postgresql", "mysql", "mssql", "databricks")
LONGEST_PARAM = 6000
MOST_PARAMS, MOST_METRICS = 100, 900  # of one call, by MLflow's limits
RUN_FILE = "run.json"
LAYERS_FILE = "layers.json"
LOGGED_FILE = "mlflow_run.json"


class TrackingUnavailable(ConnectionError):
    """The tracking server does not answer."""


class TrackingRefused(ValueError):
    """The store is there and does not take what it is given."""


@dataclass(frozen=True)
class Store:
    """Where runs go: a tracking URI, the folder of the artifacts (None: the server decides) and an experiment."""

    uri: str
    artifacts: Path | None
    experiment: str

    def connect(self) -> MlflowClient:
        """A client; the database and its experiment exist afterwards, whoever else creates them at the same time.

        Raises:
            TrackingUnavailable: the server does not answer.
            ValueError: the URI is of a kind that MLflow 3 does not take.
        """
        if not self.uri.startswith(SCHEMES):
            raise ValueError(
                f"tracking.uri must be sqlite:///ABSOLUTE_PATH or the address of a server (http://...), "
                f"got {self.uri!r}"
            )
        if self.uri.startswith(SQLITE):
            database = Path(self.uri.removeprefix(SQLITE))
            database.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{database}.lock"):
                return self._prepared()
        return self._prepared()

    def _prepared(self) -> MlflowClient:
        client = _client(self.uri)
        with reaching(self.uri):
            self._experiment_id(client)
        return client

    def _experiment_id(self, client: MlflowClient) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        location = None if self.artifacts is None else self.artifacts.as_uri()
        # the UI opens such an experiment as a table of runs, not as traces of an application
        kind = {"mlflow.experimentKind": "custom_model_development"}
        try:
            return str(client.create_experiment(self.experiment, artifact_location=location, tags=kind))
        except MlflowException:
            found = client.get_experiment_by_name(self.experiment)  # another run was quicker, on a server
            if found is None:
                raise
            return str(found.experiment_id)

    def create_run(
        self, client: MlflowClient, name: str, tags: Mapping[str, str], parent: str | None, start: int | None = None
    ) -> str:
        """Open a run, RUNNING, below ``parent`` if there is one, begun now or at ``start`` (ms); returns its id."""
        own = {**tags, "mlflow.source.type": "LOCAL", "mlflow.source.name": "keyneurons", "mlflow.user": _user()}
        if parent is not None:
            own["mlflow.parentRunId"] = parent
        with reaching(self.uri):
            run = client.create_run(self._experiment_id(client), start_time=start, tags=own, run_name=name)
        return str(run.info.run_id)

    def artifact(self, run_id: str, name: str) -> Path:
        """A file of a run, brought here if it is on a server.

        Raises:
            ValueError: there is no such run, or it has no such file.
        """
        client = self.connect()
        try:
            here = urlparse(client.get_run(run_id).info.artifact_uri)
            if here.scheme == "file" and (path := Path(url2pathname(here.path)) / name).exists():
                return path  # MLflow would copy it into a folder that nobody removes
            return Path(client.download_artifacts(run_id, name))
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{run_id!r} is neither a file nor a run with {name} in {self.uri}: {reason}") from error

    def run(self, run_id: str) -> dict[str, Any]:
        """What is kept of a run.

        Raises:
            ValueError: there is no such run.
        """
        return _facts(self._get(run_id))

    def runs_below(self, parent: str) -> list[dict[str, Any]]:
        """The runs of a sweep, the oldest first.

        Raises:
            ValueError: there is no such run.
        """
        found = self._get(parent)
        return self._pages(str(found.info.experiment_id), f"tags.`mlflow.parentRunId` = '{found.info.run_id}'")

    def search(self, experiment: str, wanted: str) -> list[dict[str, Any]]:
        """The runs of an experiment that pass a filter in MLflow's syntax (empty: all), the oldest first.

        Raises:
            ValueError: there is no such experiment, or MLflow does not understand the filter.
        """
        client = self._existing()
        with reaching(self.uri):
            found = client.get_experiment_by_name(experiment)
            if found is None:
                names = sorted(each.name for each in client.search_experiments())
        if found is None:
            raise ValueError(f"{self.uri} has no experiment {experiment!r}, only {', '.join(names)}")
        return self._pages(str(found.experiment_id), wanted)

    def add_folder(self, run_id: str, folder: Path, name: str) -> None:
        """Add a folder to the artifacts of a run, under a name."""
        with reaching(self.uri):
            self._existing().log_artifacts(run_id, str(folder), artifact_path=name)

    def _existing(self) -> MlflowClient:
        """A client of a store that is there: reading makes none.

        Raises:
            ValueError: there is no such database.
        """
        if self.uri.startswith(SQLITE) and not Path(self.uri.removeprefix(SQLITE)).is_file():
            raise ValueError(f"there are no runs: {self.uri.removeprefix(SQLITE)} does not exist (tracking.uri)")
        return self.connect()

    def _get(self, run_id: str) -> Run:
        client = self._existing()
        try:
            with reaching(self.uri):
                found = client.get_run(run_id)
        except TrackingRefused as error:
            raise ValueError(f"{self.uri} has no run {run_id!r}") from error
        if found.info.lifecycle_stage != "active":
            raise ValueError(f"run {run_id} in {self.uri} was deleted")
        return found

    def _pages(self, experiment_id: str, wanted: str) -> list[dict[str, Any]]:
        client = self._existing()
        found: list[dict[str, Any]] = []
        token = None
        while True:
            with reaching(self.uri):
                page = client.search_runs(
                    [experiment_id], wanted, max_results=500, order_by=["start_time ASC"], page_token=token
                )
            found += map(_facts, page)
            token = page.token
            if not token:
                return found

    def reopen(self, parent: str, tags: Mapping[str, str]) -> None:
        """Let a sweep that goes on be RUNNING again, with new values of some tags."""
        client = self.connect()
        with reaching(self.uri):
            for name, value in tags.items():
                client.set_tag(parent, name, value)
            client.update_run(parent, status="RUNNING")

    def close_children(self, parent: str, alive: Callable[[str], bool]) -> list[tuple[str, str]]:
        """Mark the children of a sweep that are still RUNNING as KILLED, but for those whose process is alive.

        Args:
            parent: id of the sweep's run.
            alive: whether the process of a tag ``process`` is still there.

        Returns:
            Fingerprint and status of every child.
        """
        client = self.connect()
        found = []
        with reaching(self.uri):
            for child in self.runs_below(parent):
                status = child["status"]
                if status in {"RUNNING", "SCHEDULED"} and not alive(child["tags"].get("process", "")):
                    client.set_terminated(child["id"], status=(status := "KILLED"))
                found.append((str(child["tags"].get("fingerprint", "")), str(status)))
        return found

    def close_parent(self, parent: str, metrics: Mapping[str, float], status: str) -> None:
        """Close a sweep."""
        client = self.connect()
        with reaching(self.uri):
            for name, value in metrics.items():
                client.log_metric(parent, name, value)
            client.set_terminated(parent, status=status)


def _facts(run: Run) -> dict[str, Any]:
    info, data = run.info, run.data
    return {
        "id": str(info.run_id),
        "name": str(info.run_name),
        "status": str(info.status),
        "parent": data.tags.get("mlflow.parentRunId"),
        "params": dict(data.params),
        "metrics": dict(data.metrics),
        "tags": dict(data.tags),
    }


@dataclass(frozen=True)
class OpenRun:
    """A run that is under way: its id in the store, or None where the server was away when it began."""

    store: Store
    run_id: str | None

    def send(self, folder: Path) -> bool:
        """Send all that the folder holds.

        Args:
            folder: a finished run's folder.

        Returns:
            Whether it arrived; where not, the folder stays to be sent later.
        """
        if self.run_id is None:
            return False
        try:
            with reaching(self.store.uri):
                send_folder(self.store.connect(), self.run_id, folder)
        except TrackingUnavailable as error:
            log.warning("%s", error)
            return False
        return True


@contextmanager
def open_run(store: Store, folder: Path, facts: Mapping[str, Any]) -> Generator[OpenRun]:
    """A run around a whole job: FINISHED after it, FAILED with its log when it raises, KILLED on Ctrl-C.

    A server that does not answer stops nothing; the job runs and its folder can be sent later.

    Args:
        store: where the run goes.
        folder: the run's own folder, its config in it; it learns the run's id.
        facts: ``name``, ``parent`` (id of the sweep's run, or None), ``choices`` by group, ``tags``.

    Yields:
        The run.
    """
    facts = {**facts, "start_time": int(time.time() * 1000)}
    write_json(folder / RUN_FILE, facts)
    client, run_id = None, None
    try:
        client = store.connect()
        run_id = store.create_run(client, facts["name"], facts["tags"], facts["parent"])
        write_json(folder / RUN_FILE, {**facts, "run_id": run_id, "uri": store.uri})
        with reaching(store.uri):
            send_params(client, run_id, folder)
    except TrackingUnavailable as error:
        log.warning("%s", error)
    try:
        yield OpenRun(store, run_id)
    except BaseException as error:
        log.exception("the run ended early")
        if client is not None and run_id is not None:
            _end_early(store, client, run_id, folder, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise


def _end_early(store: Store, client: MlflowClient, run_id: str, folder: Path, status: str) -> None:
    """Close a run that did not come to its end, with whatever its folder holds; nothing here hides the first error."""
    try:
        with reaching(store.uri):
            client.set_terminated(run_id, status=status)
            client.log_artifacts(run_id, str(folder))
    except (TrackingRefused, OSError) as error:
        log.warning("the run could not be closed in MLflow: %s", error)


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


def metric_name(key: str) -> str:
    """A metric's name as MLflow takes it: the characters of a tag that it refuses as ``_x`` and their number."""
    parts = [re.sub(r"[^\w\-. ]|^\.+$", _escaped, part, flags=re.ASCII) for part in key.split("/")]
    return "/".join(parts)


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"_x{ord(character):02x}" for character in match[0])


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


@contextmanager
def reaching(uri: str) -> Generator[None]:
    """Turn what the network and MLflow raise into one plain error of ours.

    Raises:
        TrackingUnavailable: the server does not answer, or says itself that it cannot.
        TrackingRefused: any other trouble.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import RetryError, Timeout

    away = (NoConnection, Timeout, RetryError)
    try:
        yield
    except away as error:
        raise TrackingUnavailable(f"the tracking server {uri} does not answer") from error
    except MlflowException as error:
        if isinstance(error.__cause__ or error.__context__, away) and not uri.startswith(SQLITE):
            raise TrackingUnavailable(f"the tracking server {uri} does not answer") from error
        raise TrackingRefused(f"MLflow at {uri}: {' '.join(str(error).split())}") from error


def _client(uri: str) -> MlflowClient:
    # short of these a server that is away holds up a run for minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


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


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
