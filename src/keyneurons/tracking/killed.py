"""Runs that were killed: nothing in them could say so, so the next command that opens their store does."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

from keyneurons.process_tag import gone

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST = 500  # in one look; the rest is for the next command


def close_killed(client: MlflowClient, experiment_id: str) -> list[str]:
    """Mark runs that are RUNNING in an experiment as KILLED if a process of this machine did them and has ended.

    Args:
        client: of the store.
        experiment_id: only runs of this experiment are looked at.

    Returns:
        The names of those runs.
    """
    wanted = "attributes.status = 'RUNNING'"
    if (host := socket.gethostname()).replace("-", "").replace(".", "").isalnum():
        wanted += f" and tags.process LIKE '%{host}%'"
    closed = []
    for run in client.search_runs([experiment_id], wanted, max_results=MOST):
        # a run that has ended since the search has its status by now
        if gone(run.data.tags.get("process", "")) and client.get_run(run.info.run_id).info.status == "RUNNING":
            client.set_terminated(run.info.run_id, status="KILLED")
            closed.append(str(run.info.run_name))
    return closed


def say_killed(names: list[str]) -> None:
    """Say which runs were closed, beside whatever the command itself says."""
    if names:
        runs = "1 run whose process was" if len(names) == 1 else f"{len(names)} runs whose processes were"
        sys.stderr.write(f"closed {runs} killed: {', '.join(names)}\n")
