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
from keyneurons.tracking.client import TrackingRefused, TrackingUnavailable, client_of, reaching
from keyneurons.tracking.killed import close_killed, say_killed
from keyneurons.tracking.view import VIEW_TAG, view_state

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

SCHEMES = (SQLITE, "http://", "https://", "postgresql", "mysql", "mssql", "databricks")


@dataclass(frozen=True)
class Store:
    """Where runs go: a tracking URI, the folder of the artifacts (None: the server decides) and an experiment."""

    uri: str
    artifacts: Path | None
    experiment: str
    _looked: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def connect(self) -> MlflowClient:
        """A client; the database and its experiment exist afterwards, whoever else creates them at the same time.

        Raises:
            TrackingUnavailable: the server does not answer.
            ValueError: the URI is of a kind that MLflow 3 does not take.
        """
        if not self.uri.startswith(SCHEMES):
            raise ValueError(
                f"tracking.uri must be sqlite:///ABSOLUTE_PATH or the address of a server (http://...), "
                f"got {masked_address(self.uri)!r}"
            )
        if self.uri.startswith(SQLITE):
            database = sqlite_path(self.uri)
            database.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{database}.lock"):
                return self._prepared()
        return self._prepared()

    def _prepared(self) -> MlflowClient:
        with reaching(self.uri):
            client = client_of(self.uri)
            self._close_killed(client, self._experiment_id(client))
        return client

    def _close_killed(self, client: MlflowClient, experiment_id: str) -> None:
        """Once for this object; a store that may only be read, or is in trouble, is left as it is."""
        if self._looked:
            return
        self._looked.append(experiment_id)
        with contextlib.suppress(TrackingRefused, TrackingUnavailable), reaching(self.uri):
            say_killed(close_killed(client, experiment_id))

    def _experiment_id(self, client: MlflowClient) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        location = None if self.artifacts is None else self.artifacts.as_uri()
        # for the versions of the UI that go by it; 3.17 opens what its reader chose last, unless the address says
        kind = {"mlflow.experimentKind": "custom_model_development", VIEW_TAG: view_state()}
        try:
            return str(client.create_experiment(self.experiment, artifact_location=location, tags=kind))
        except MlflowException:
            found = client.get_experiment_by_name(self.experiment)  # another run was quicker, on a server
            if found is None:
                raise
            return str(found.experiment_id)

    def prepare_view(self) -> str:
        """Let the experiment have this version's shared view; returns the experiment's id."""
        client = self.connect()
        with reaching(self.uri):
            experiment_id = self._experiment_id(client)
            if client.get_experiment(experiment_id).tags.get(VIEW_TAG) != view_state():
                client.set_experiment_tag(experiment_id, VIEW_TAG, view_state())
        return experiment_id

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
        try:
            client = self._existing()
            here = local_artifacts(client.get_run(run_id))
            if here is not None and (here / name).exists():
                return here / name  # MLflow would copy it into a folder that nobody removes
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
        """A client of a store that is there: reading makes none, and needs no permission to write.

        Raises:
            ValueError: there is no such database.
        """
        if not self.uri.startswith(SQLITE):
            return self.connect()
        if not sqlite_path(self.uri).is_file():
            raise ValueError(f"there are no runs: {sqlite_path(self.uri)} does not exist (tracking.uri)")
        with reaching(self.uri):
            client = client_of(self.uri)
            found = client.get_experiment_by_name(self.experiment)
        if found is not None:
            self._close_killed(client, str(found.experiment_id))
        return client

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


def local_artifacts(run: Run) -> Path | None:
    """The folder of a run's files, or None where they are on a server."""
    where = urlparse(run.info.artifact_uri)
    return Path(url2pathname(where.path)) if where.scheme == "file" else None


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


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
