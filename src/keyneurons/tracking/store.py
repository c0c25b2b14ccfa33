"""The MLflow store: its experiments and runs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from filelock import FileLock

from keyneurons.addresses import SQLITE, masked_address, sqlite_path
from keyneurons.tracking.client import TrackingRefused, TrackingUnavailable, client_of, translated_errors
from keyneurons.tracking.experiment_note import EXPERIMENT_NOTE
from keyneurons.tracking.killed import close_killed, report_killed
from keyneurons.tracking.system_metrics import PREFIX
from keyneurons.tracking.view import VIEW_TAG, saved_view

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SCHEMES = (SQLITE, "http://", "https://", "postgresql", "mysql", "mssql", "databricks")


@dataclass(frozen=True)
class Store:
    """An MLflow store: tracking URI, artifact folder (None: chosen by the server), experiment."""

    uri: str
    artifacts: Path | None
    experiment: str
    _checked: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def connect(self) -> MlflowClient:
        """A client; creates the database and the experiment if needed, safely in parallel.

        Raises:
            TrackingUnavailable: if the server is unreachable.
            ValueError: if MLflow 3 does not support the URI.
        """
        if not self.uri.startswith(SCHEMES):
            raise ValueError(
                "tracking.uri must be sqlite:///ABSOLUTE_PATH or the address of a server (http://...), "
                f"got {masked_address(self.uri)!r}"
            )
        if self.uri.startswith(SQLITE):
            database = sqlite_path(self.uri)
            database.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{database}.lock"):
                return self._prepared()
        return self._prepared()

    def _prepared(self) -> MlflowClient:
        with translated_errors(self.uri):
            client = client_of(self.uri)
            self._close_killed(client, self._experiment_id(client))
        return client

    def _close_killed(self, client: MlflowClient, experiment_id: str) -> None:
        """Mark killed runs, once per object; errors, such as of read-only stores, are ignored."""
        if self._checked:
            return
        self._checked.append(experiment_id)
        with contextlib.suppress(TrackingRefused, TrackingUnavailable), translated_errors(self.uri):
            report_killed(close_killed(client, experiment_id))

    def _experiment_id(self, client: MlflowClient) -> str:
        from mlflow.exceptions import MlflowException

        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is not None:
            return str(experiment.experiment_id)
        location = None if self.artifacts is None else self.artifacts.as_uri()
        # for some versions of the UI; 3.17 opens the user's last choice unless the address has one
        kind = {"mlflow.experimentKind": "custom_model_development", VIEW_TAG: saved_view()}
        kind["mlflow.note.content"] = EXPERIMENT_NOTE  # a user may change it later
        try:
            return str(client.create_experiment(self.experiment, artifact_location=location, tags=kind))
        except MlflowException:
            experiment = client.get_experiment_by_name(self.experiment)  # a parallel run may have created it
            if experiment is None:
                raise
            return str(experiment.experiment_id)

    def prepare_view(self) -> str:
        """Write the view to the experiment and return the experiment's id.

        Raises:
            ValueError: if there is no database.
        """
        self._check_exists()
        client = self.connect()
        with translated_errors(self.uri):
            experiment_id = self._experiment_id(client)
            if client.get_experiment(experiment_id).tags.get(VIEW_TAG) != saved_view():
                client.set_experiment_tag(experiment_id, VIEW_TAG, saved_view())
        return experiment_id

    def create_run(
        self, client: MlflowClient, name: str, tags: Mapping[str, str], parent: str | None, start: int | None = None
    ) -> str:
        """Create a RUNNING run, a child of ``parent`` if given, and return its id.

        ``start`` is the start time in ms; None for now.
        """
        own = {**tags, "mlflow.source.type": "LOCAL", "mlflow.source.name": "keyneurons", "mlflow.user": _user()}
        if parent is not None:
            own["mlflow.parentRunId"] = parent
        with translated_errors(self.uri):
            run = client.create_run(self._experiment_id(client), start_time=start, tags=own, run_name=name)
        return str(run.info.run_id)

    def artifact(self, run_id: str, name: str) -> Path:
        """The path of a run's file, downloaded if it is on a server.

        Raises:
            ValueError: if there is no such run, or it has no such file.
        """
        try:
            client = self._existing()
            local = local_artifacts(client.get_run(run_id))
            if local is not None and (local / name).exists():
                return local / name  # MLflow would copy it to a temporary folder that is never deleted
            return Path(client.download_artifacts(run_id, name))
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{run_id!r} is neither a file nor a run with {name} in {self.uri}: {reason}") from error

    def run(self, run_id: str) -> dict[str, Any]:
        """The id, name, status, parent, params, metrics and tags of a run.

        Raises:
            ValueError: if there is no such run.
        """
        return _facts(self._get(run_id))

    def runs_below(self, parent: str) -> list[dict[str, Any]]:
        """The runs of a sweep, oldest first.

        Raises:
            ValueError: if there is no such run.
        """
        run = self._get(parent)
        return self._pages(str(run.info.experiment_id), f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")

    def search(self, experiment: str, condition: str) -> list[dict[str, Any]]:
        """The runs of an experiment that match a filter in MLflow's syntax, oldest first.

        An empty filter matches all runs.

        Raises:
            ValueError: if there is no such experiment, or MLflow rejects the filter.
        """
        client = self._existing()
        with translated_errors(self.uri):
            match = client.get_experiment_by_name(experiment)
            if match is None:
                names = sorted(each.name for each in client.search_experiments())
        if match is None:
            raise ValueError(f"{self.uri} has no experiment {experiment!r}; it has {', '.join(names)}")
        return self._pages(str(match.experiment_id), condition)

    def add_folder(self, run_id: str, folder: Path, name: str) -> None:
        """Log a folder to the artifacts of a run, under a name."""
        with translated_errors(self.uri):
            self._existing().log_artifacts(run_id, str(folder), artifact_path=name)

    def _existing(self) -> MlflowClient:
        """A client of an existing store; creates nothing and works with read-only access.

        Raises:
            ValueError: if the database does not exist.
        """
        if not self.uri.startswith(SQLITE):
            return self.connect()
        self._check_exists()
        with translated_errors(self.uri):
            client = client_of(self.uri)
            experiment = client.get_experiment_by_name(self.experiment)
        if experiment is not None:
            self._close_killed(client, str(experiment.experiment_id))
        return client

    def _check_exists(self) -> None:
        if self.uri.startswith(SQLITE) and not (database := sqlite_path(self.uri)).is_file():
            raise ValueError(f"there are no runs: {database} does not exist (tracking.uri); make one with: keyneurons")

    def _get(self, run_id: str) -> Run:
        client = self._existing()
        try:
            with translated_errors(self.uri):
                run = client.get_run(run_id)
        except TrackingRefused as error:
            raise ValueError(f"{self.uri} has no run {run_id!r}") from error
        if run.info.lifecycle_stage != "active":
            raise ValueError(f"run {run_id} in {self.uri} was deleted")
        return run

    def _pages(self, experiment_id: str, condition: str) -> list[dict[str, Any]]:
        client = self._existing()
        runs: list[dict[str, Any]] = []
        token = None
        while True:
            with translated_errors(self.uri):
                page = client.search_runs(
                    [experiment_id], condition, max_results=500, order_by=["start_time ASC"], page_token=token
                )
            runs += map(_facts, page)
            token = page.token
            if not token:
                return runs


def local_artifacts(run: Run) -> Path | None:
    """The folder of a run's files, or None if they are on a server."""
    address = urlparse(run.info.artifact_uri)
    return Path(url2pathname(address.path)) if address.scheme == "file" else None


def _facts(run: Run) -> dict[str, Any]:
    info, data = run.info, run.data
    return {
        "id": str(info.run_id),
        "name": str(info.run_name),
        "status": str(info.status),
        "parent": data.tags.get("mlflow.parentRunId"),
        "params": dict(data.params),
        "metrics": {name: value for name, value in data.metrics.items() if not name.startswith(PREFIX)},
        "tags": dict(data.tags),
    }


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
