"""Marks runs of killed processes as KILLED when a later command opens their store."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

from keyneurons.process_tag import gone

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_RUNS = 500  # per command


def close_killed(client: MlflowClient, experiment_id: str) -> list[str]:
    """Mark the RUNNING runs of an experiment as KILLED if their process on this machine has ended.

    Args:
        client: the client of the store.
        experiment_id: the experiment.

    Returns:
        The names of these runs.
    """
    condition = "attributes.status = 'RUNNING'"
    if (host := socket.gethostname()).replace("-", "").replace(".", "").isalnum():
        condition += f" and tags.process LIKE '%{host}%'"
    closed = []
    for run in client.search_runs([experiment_id], condition, max_results=MAX_RUNS):
        # read the status again: the run may have ended since the search
        if gone(run.data.tags.get("process", "")) and client.get_run(run.info.run_id).info.status == "RUNNING":
            client.set_terminated(run.info.run_id, status="KILLED")
            closed.append(str(run.info.run_name))
    return closed


def report_killed(names: list[str]) -> None:
    """Write the names of the runs that were marked as KILLED to stderr."""
    if names:
        one = len(names) == 1
        runs, cause = ("1 run", "its process") if one else (f"{len(names)} runs", "their processes")
        sys.stderr.write(f"marked {runs} as KILLED because {cause} ended: {', '.join(names)}\n")
