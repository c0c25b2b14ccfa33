"""The MLflow run of a job."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.artifacts.run_facts import RUN_FILE
from keyneurons.atomic_files import write_json
from keyneurons.progress import stage
from keyneurons.tracking.client import TrackingRefused, TrackingUnavailable, translated_errors
from keyneurons.tracking.sending import send_folder, send_params, withdraw
from keyneurons.tracking.store import Store
from keyneurons.tracking.system_metrics import system_metrics

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenRun:
    """An open run; ``run_id`` is None if the server was unreachable at its start."""

    store: Store
    run_id: str | None

    def send(self, folder: Path) -> bool:
        """Send the contents of the run's folder to the store.

        Args:
            folder: the folder of the finished run.

        Returns:
            False if the server is unreachable; the folder can be sent later.

        Raises:
            TrackingRefused: if the store rejects it, for example on a full disk; the message says
                how to send it later.
        """
        if self.run_id is None:
            return False
        try:
            with translated_errors(self.store.uri):
                send_folder(self.store.connect(), self.run_id, folder)
        except TrackingUnavailable as error:
            log.warning("%s", error)
            return False
        except (TrackingRefused, OSError) as error:
            command = f"keyneurons log {shlex.quote(str(folder))}"
            raise TrackingRefused(f"{error}; the run's folder is complete, send it later with: {command}") from error
        return True


@contextmanager
def open_run(
    store: Store, folder: Path, facts: Mapping[str, Any], *, sample_system: bool = False
) -> Generator[OpenRun]:
    """Open an MLflow run; it ends as FINISHED, FAILED (on errors, with its log) or KILLED (Ctrl-C).

    If the server is unreachable, the job runs all the same and its folder can be sent later.

    Args:
        store: the store of the run.
        folder: the run's folder with its configuration; the run's id is written to it.
        facts: ``name``, ``parent`` (id of the sweep's run or None), ``choices`` by group, ``tags``.
        sample_system: whether to log system metrics of a run of more than some seconds.

    Yields:
        The open run.
    """
    facts = {**facts, "start_time": int(time.time() * 1000)}
    write_json(folder / RUN_FILE, facts)
    client, run_id = None, None
    try:
        try:
            with stage("connecting to MLflow"):
                client = store.connect()
            run_id = store.create_run(client, facts["name"], facts["tags"], facts["parent"])
            write_json(folder / RUN_FILE, {**facts, "run_id": run_id, "uri": store.uri})
            with translated_errors(store.uri):
                send_params(client, run_id, folder)
        except TrackingUnavailable as error:
            log.warning("%s", error)
        with system_metrics(store.uri, run_id) if sample_system and run_id is not None else nullcontext():
            yield OpenRun(store, run_id)
    except BaseException as error:
        log.exception("the run ended early")
        if client is not None and run_id is not None:
            _end_early(store, client, run_id, folder, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise


def _end_early(store: Store, client: MlflowClient, run_id: str, folder: Path, status: str) -> None:
    """Close a run that raised, and send its files; errors of the store are only logged."""
    try:
        with translated_errors(store.uri):
            client.set_terminated(run_id, status=status)
            client.log_artifacts(run_id, str(folder))
    except (TrackingRefused, OSError) as error:
        log.warning("the files of the run could not be sent to MLflow: %s", error)
        withdraw(store, client, run_id, status)
