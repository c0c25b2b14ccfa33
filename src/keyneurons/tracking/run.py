"""An MLflow run around a job."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.artifacts.run_facts import RUN_FILE
from keyneurons.atomic_files import write_json
from keyneurons.tracking.client import TrackingRefused, TrackingUnavailable, reaching
from keyneurons.tracking.sending import send_folder, send_params, withdraw
from keyneurons.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)


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

        Raises:
            TrackingRefused: the store does not take it, such as one on a full disk; the line says how to send it later.
        """
        if self.run_id is None:
            return False
        try:
            with reaching(self.store.uri):
                send_folder(self.store.connect(), self.run_id, folder)
        except TrackingUnavailable as error:
            log.warning("%s", error)
            return False
        except (TrackingRefused, OSError) as error:
            later = f"keyneurons log {shlex.quote(str(folder))}"
            raise TrackingRefused(f"{error}; the run is complete in its folder, send it later with: {later}") from error
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
        try:
            client = store.connect()
            run_id = store.create_run(client, facts["name"], facts["tags"], facts["parent"])
            write_json(folder / RUN_FILE, {**facts, "run_id": run_id, "uri": store.uri})
            with reaching(store.uri):
                send_params(client, run_id, folder)
        except TrackingUnavailable as error:
            log.warning("%s", error)
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
        log.warning("the files of the run could not be sent to MLflow: %s", error)
        withdraw(store, client, run_id, status)
