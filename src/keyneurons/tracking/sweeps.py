"""The parent run of a sweep: reopening, closing, description."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from keyneurons.metric_names import LONGEST_PARAM
from keyneurons.tracking.client import translated_errors
from keyneurons.tracking.store import Store
from keyneurons.tracking.view import artifact_address, compare_address, runs_address, sweep_view

MAX_COMPARED = 100  # MLflow's compare page is unreadable with more runs


def log_swept(store: Store, parent: str, values: Mapping[str, Sequence[str]]) -> None:
    """Log the values of the swept keys as params of the sweep, under the names of its runs' params.

    Too long a list is cut; the tag ``overrides`` of the sweep has all of it.
    """
    from mlflow.entities import Param

    params = []
    for key, own in values.items():
        text = ", ".join(own)
        cut = f"{len(own)} values: {text[: LONGEST_PARAM - 100]}..."
        params.append(Param(key, text if len(text) <= LONGEST_PARAM else cut))
    with translated_errors(store.uri):
        store.connect().log_batch(parent, params=params)


def log_best(store: Store, parent: str, best: Mapping[str, tuple[str, float]]) -> None:
    """Log the best runs of a sweep: their names as tags, their values as metrics, by criterion."""
    from mlflow.entities import Metric, RunTag

    now = int(time.time() * 1000)
    metrics = [Metric(f"sweep/best_{criterion}", value, now, 0) for criterion, (_, value) in best.items()]
    tags = [RunTag(f"best_{criterion}", name) for criterion, (name, _) in best.items()]
    with translated_errors(store.uri):
        store.connect().log_batch(parent, metrics=metrics, tags=tags)


def reopen(store: Store, parent: str, tags: Mapping[str, str]) -> None:
    """Set the parent run of a resumed sweep to RUNNING and update its tags."""
    client = store.connect()
    with translated_errors(store.uri):
        for name, value in tags.items():
            client.set_tag(parent, name, value)
        client.update_run(parent, status="RUNNING")


def close_children(store: Store, parent: str, alive: Callable[[str], bool]) -> list[tuple[str, str]]:
    """Mark the RUNNING children of a sweep as KILLED, except those whose process is alive.

    Args:
        store: the store of the runs.
        parent: id of the sweep's run.
        alive: whether the process described by a ``process`` tag is running.

    Returns:
        Fingerprint and status of each child.
    """
    client = store.connect()
    statuses = []
    with translated_errors(store.uri):
        for child in store.runs_below(parent):
            status = child["status"]
            if status in {"RUNNING", "SCHEDULED"} and not alive(child["tags"].get("process", "")):
                client.set_terminated(child["id"], status=(status := "KILLED"))
            statuses.append((str(child["tags"].get("fingerprint", "")), str(status)))
    return statuses


def close_parent(store: Store, parent: str, metrics: Mapping[str, float], status: str) -> None:
    """Close the parent run of a sweep with its metrics and status."""
    client = store.connect()
    with translated_errors(store.uri):
        for name, value in metrics.items():
            client.log_metric(parent, name, value)
        client.set_terminated(parent, status=status)


def describe(store: Store, parent: str, text: str, runs: Sequence[str], page: str) -> None:
    """Set the description of a sweep, with links to its report and to MLflow's pages of its runs.

    Args:
        store: the store of the runs.
        parent: id of the sweep's run.
        text: the description in Markdown.
        runs: ids of the compared runs.
        page: path of the report among the artifacts of the sweep's run.
    """
    client = store.connect()
    with translated_errors(store.uri):
        run = client.get_run(parent)
        experiment = str(run.info.experiment_id)
        client.set_experiment_tag(experiment, *sweep_view(parent, list(run.data.params)))
        links = [
            f"[Full comparison]({artifact_address(experiment, parent, page)})",
            f"[charts of these runs]({runs_address(experiment, parent, charts=True)})",
            f"[their table]({runs_address(experiment, parent)})",
        ]
        if len(runs) <= MAX_COMPARED:
            links.append(f"[their figures side by side]({compare_address(experiment, runs)})")
        # the links come first, since the UI collapses all but the first lines
        client.set_tag(parent, "mlflow.note.content", f"{', '.join(links)}\n\n{text}")
