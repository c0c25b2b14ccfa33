"""Finished runs of a store: search by id, sweep, experiment or filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyneurons.artifacts.frames import read_frame
from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE, read_key_neurons
from keyneurons.artifacts.plain import read_yaml
from keyneurons.artifacts.scores import SCORES_FILE, open_scores
from keyneurons.config.schema import Config
from keyneurons.config.validation import validate_plain
from keyneurons.progress import stage
from keyneurons.tracking import Store, log_folder

if TYPE_CHECKING:
    from pandas import DataFrame

CONFIG = "config.yaml"
COMPLETE = "neuron_sets"  # tag of a run with complete files


class UnusableRun(ValueError):
    """A file of a run is missing or unreadable; ``reason`` is the message without the run."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Run:
    """A run of a store: status, parameters, metrics, tags and files."""

    id: str
    name: str
    status: str
    parent: str | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    store: Store = field(repr=False)

    def file(self, name: str) -> Path:
        """The path of an artifact, downloaded if it is on a server.

        Raises:
            UnusableRun: if the run has no such file.
        """
        try:
            return self.store.artifact(self.id, name)
        except ValueError as error:
            reason = "" if self.status == "FINISHED" else f": its status is {self.status}"
            if not reason and name in (CONFIG, KEY_NEURONS_FILE) and COMPLETE in self.tags:
                reason = " (deleted after the run)"
            message = f"run {self.name} ({self.id}) has no {name} in {self.store.uri}{reason}"
            raise UnusableRun(message, f"no {name}{reason}") from error

    def config(self) -> Config:
        """The validated configuration; interpolations are not resolved.

        Raises:
            ValueError: if the file is missing or not valid in this version.
        """
        path = self.file(CONFIG)
        try:
            return validate_plain(read_yaml(path))
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{self._describe(CONFIG)} does not fit this version: {reason}") from error

    def key_neurons(self) -> dict[str, Any]:
        """The contents of ``key_neurons.json``.

        Raises:
            UnusableRun: if the file is missing or unreadable in this version.
        """
        path = self.file(KEY_NEURONS_FILE)
        try:
            key_neurons = read_key_neurons(path)
        except (OSError, ValueError) as error:
            message = f"{self._describe(KEY_NEURONS_FILE)} cannot be read: {error}"
            raise UnusableRun(message, f"{KEY_NEURONS_FILE} cannot be read: {error}") from error
        if missing := [name for name in ("scope", "top_k") if name not in key_neurons]:
            reason = f"has no {missing[0]}"
            raise UnusableRun(f"{self._describe(KEY_NEURONS_FILE)} {reason}", f"{KEY_NEURONS_FILE} {reason}")
        return key_neurons

    def table(self, name: str) -> DataFrame:
        """A CSV file of the run, such as ``key_neurons.csv``, with tags as they were written.

        Raises:
            ValueError: if the run has no such file, or it is not a table.
        """
        return read_frame(self.file(name))

    def _describe(self, name: str) -> str:
        version = self.tags.get("keyneurons_version", "unknown")
        return f"{name} of run {self.name} ({self.id}), written by keyneurons {version},"


def log_finished(store: Store, folder: Path) -> str:
    """Validate the folder of a finished run and send it to a store.

    Args:
        store: the destination.
        folder: the run's folder under ``outputs/``.

    Returns:
        The MLflow id of the run.

    Raises:
        ValueError: if the folder contains no finished run of this version, or the run was already
            sent.
    """
    if (path := folder / CONFIG).is_file():
        plain = read_yaml(path)
        methods = _methods_in(plain)
        for each in [plain] if methods is None else [{**plain, "selection": method} for method in methods]:
            try:
                validate_plain(each)
            except ValueError as error:
                raise ValueError(f"{path} is damaged or from another version: {error}") from error
        if methods is None:
            _check_results(folder)
    return log_folder(store, folder)


def _methods_in(plain: Any) -> list[Any] | None:
    """The methods in the configuration of ``agreement``, or None for the configuration of a run."""
    methods = plain.get("selection") if isinstance(plain, dict) else None
    return None if not isinstance(methods, dict) or "_target_" in methods else [*methods.values()]


def _check_results(folder: Path) -> None:
    """Check that the key neurons and scores of a run are readable; given sets have no scores.

    Raises:
        ValueError: if a file is missing or damaged.
    """
    if not (folder / KEY_NEURONS_FILE).exists():
        raise ValueError(f"{folder} contains no finished run: {KEY_NEURONS_FILE} missing")
    is_given = "source" in read_key_neurons(folder / KEY_NEURONS_FILE)
    if (folder / SCORES_FILE).exists():
        open_scores(folder / SCORES_FILE)
    elif not is_given:
        raise ValueError(f"{folder} contains no finished run: {SCORES_FILE} missing")


def load_run(store: Store, which: str) -> Run:
    """The run with an MLflow id.

    Raises:
        ValueError: if there is none.
    """
    return Run(**store.run(which), store=store)


def find_runs(
    store: Store, *, sweep: str | None = None, experiment: str | None = None, filter: str | None = None
) -> tuple[Run, ...]:
    """The runs of a sweep, of an experiment, or of the store's experiment that match a filter.

    Args:
        store: the store of the runs.
        sweep: MLflow id of the parent run.
        experiment: name of an MLflow experiment.
        filter: a filter in MLflow's search syntax.

    Returns:
        The runs of any status, oldest first.

    Raises:
        ValueError: if not exactly one criterion is given, or no run matches.
    """
    options = {"sweep": sweep, "experiment": experiment, "filter": filter}
    criteria = {name: value for name, value in options.items() if value is not None}
    if len(criteria) != 1:
        raise ValueError(f"give one of sweep=ID, experiment=NAME and filter=..., got {', '.join(criteria) or 'none'}")
    [(name, value)] = criteria.items()
    if not value.strip():
        raise ValueError(f"{name}= must not be empty")
    with stage("searching the runs"):
        runs = tuple(Run(**facts, store=store) for facts in _search(store, name, value))
    if not runs:
        messages = {
            "sweep": f"run {value} is not a sweep: it has no child runs in {store.uri}",
            "experiment": f"experiment {value!r} in {store.uri} has no runs",
            "filter": f"no run of experiment {store.experiment!r} in {store.uri} matches filter={value}",
        }
        raise ValueError(messages[name])
    return runs


def _search(store: Store, name: str, value: str) -> list[dict[str, Any]]:
    if name == "sweep":
        return store.runs_below(value)
    if name == "experiment":
        return store.search(value, "")
    return store.search(store.experiment, value)
