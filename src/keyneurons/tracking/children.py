"""Child runs of finished runs: results that a later command adds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from keyneurons.metric_names import metric_name
from keyneurons.tracking.client import translated_errors
from keyneurons.tracking.sending import MAX_METRICS, withdraw
from keyneurons.tracking.store import Store


def log_child(
    store: Store,
    parent: str,
    name: str,
    *,
    params: Mapping[str, str],
    curves: Mapping[str, Mapping[int, float]],
    folder: Path,
) -> str:
    """Log a finished child run, with metrics by step and the files of a folder.

    Args:
        store: the store of the parent.
        parent: id of the parent.
        name: name of the child.
        params: its params.
        curves: its metrics by step.
        folder: its files.

    Returns:
        Its id.

    Raises:
        ValueError: the store has no such parent, or rejects the run.
        TrackingUnavailable: the server is unreachable.
    """
    from mlflow.entities import Metric, Param

    store.run(parent)
    client = store.connect()
    run_id = store.create_run(client, name, {}, parent)
    now = int(time.time() * 1000)
    metrics = [
        Metric(metric_name(key), value, now, step) for key, curve in curves.items() for step, value in curve.items()
    ]
    try:
        with translated_errors(store.uri):
            client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])
            for start in range(0, len(metrics), MAX_METRICS):
                client.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS])
            client.log_artifacts(run_id, str(folder))
            client.set_terminated(run_id, status="FINISHED")
    except BaseException:
        withdraw(store, client, run_id, "FAILED")
        raise
    return run_id
