"""Runs in folders: under ``outputs/``, or in a publication."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE
from keyneurons.artifacts.metrics import METRICS_FILE, read_curves, read_metrics
from keyneurons.artifacts.run_facts import RUN_FILE, read_logged, read_run_facts
from keyneurons.metric_names import metric_name
from keyneurons.runs.finished import CONFIG, Run, load_run
from keyneurons.tracking import Store, params_of

NEEDED = (RUN_FILE, CONFIG, KEY_NEURONS_FILE)


@dataclass(frozen=True)
class FolderRun(Run):
    """A run in a folder, sent to a store or not."""

    folder: Path

    def file(self, name: str) -> Path:
        """The path of a file or folder in the folder.

        Raises:
            ValueError: if there is none.
        """
        if not (path := self.folder / name).exists():
            raise ValueError(f"{self.folder} contains no finished run of a single method: {name} missing")
        return path


def find_run(which: str | Path, store: Store) -> Run:
    """The run in a folder, or the run of a store with an MLflow id.

    Args:
        which: the folder or the id.
        store: the store of the id.

    Raises:
        ValueError: if there is no such run, or its files are damaged.
    """
    if not str(which).strip():
        raise ValueError("the run must be its MLflow id or its folder under outputs/, got ''")
    folder = Path(which).expanduser()
    return folder_run(folder, store) if folder.is_dir() else load_run(store, str(which))


def folder_run(folder: Path, store: Store) -> FolderRun:
    """The run in a folder, with the status, params and metrics that a store would give.

    Raises:
        ValueError: if the folder contains no run, or one of another version.
    """
    if missing := [name for name in NEEDED if not (folder / name).is_file()]:
        raise ValueError(f"{folder} contains no finished run of a single method: {', '.join(missing)} missing")
    facts = read_run_facts(folder)
    run_id = read_logged(folder) or facts.run_id or str(folder)  # the id differs if it was sent as a new run
    choices = {f"choice.{group}": option for group, option in facts.choices.items()}
    finished = facts.dataset is not None and (folder / METRICS_FILE).is_file()
    metrics = _metrics(folder) if finished else {}
    status, params = "FINISHED" if finished else "", {**choices, **params_of(folder)}
    return FolderRun(run_id, facts.name, status, facts.parent, params, metrics, facts.tags, store, folder)


def _metrics(folder: Path) -> dict[str, float]:
    """The metrics under their MLflow names; curves have the value of their last layer."""
    last = {name: curve[max(curve, key=int)] for name, curve in read_curves(folder).items() if curve}
    return {metric_name(name): float(value) for name, value in {**read_metrics(folder), **last}.items()}
