"""The parent run of a sweep: opened again, and closed with its children."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from keyneurons.tracking.client import reaching
from keyneurons.tracking.store import Store
from keyneurons.tracking.view import artifact_address, compare_address

MOST_COMPARED = 100  # of MLflow's page, which is of no use with more


def reopen(store: Store, parent: str, tags: Mapping[str, str]) -> None:
    """Let a sweep that goes on be RUNNING again, with new values of some tags."""
    client = store.connect()
    with reaching(store.uri):
        for name, value in tags.items():
            client.set_tag(parent, name, value)
        client.update_run(parent, status="RUNNING")


def close_children(store: Store, parent: str, alive: Callable[[str], bool]) -> list[tuple[str, str]]:
    """Mark the children of a sweep that are still RUNNING as KILLED, but for those whose process is alive.

    Args:
        store: where the runs are.
        parent: id of the sweep's run.
        alive: whether the process of a tag ``process`` is still there.

    Returns:
        Fingerprint and status of every child.
    """
    client = store.connect()
    found = []
    with reaching(store.uri):
        for child in store.runs_below(parent):
            status = child["status"]
            if status in {"RUNNING", "SCHEDULED"} and not alive(child["tags"].get("process", "")):
                client.set_terminated(child["id"], status=(status := "KILLED"))
            found.append((str(child["tags"].get("fingerprint", "")), str(status)))
    return found


def close_parent(store: Store, parent: str, metrics: Mapping[str, float], status: str) -> None:
    """Close a sweep."""
    client = store.connect()
    with reaching(store.uri):
        for name, value in metrics.items():
            client.log_metric(parent, name, value)
        client.set_terminated(parent, status=status)


def describe(store: Store, parent: str, text: str, runs: Sequence[str], page: str) -> None:
    """Give a sweep a description, with links to its page and to MLflow's compare page of its runs.

    Args:
        store: where the runs are.
        parent: id of the sweep's run.
        text: what was found, as Markdown.
        runs: ids of the runs that were compared.
        page: the page among the artifacts of the sweep's run.
    """
    client = store.connect()
    with reaching(store.uri):
        experiment = str(client.get_run(parent).info.experiment_id)
        links = [f"[The whole comparison]({artifact_address(experiment, parent, page)})"]
        if len(runs) <= MOST_COMPARED:
            links.append(f"[these runs on MLflow's compare page]({compare_address(experiment, runs)})")
        # links in front: the UI folds all but the first lines
        client.set_tag(parent, "mlflow.note.content", f"{', '.join(links)}\n\n{text}")
