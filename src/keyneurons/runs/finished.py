"""Runs of a store, found again: by id, by sweep, by experiment or by a filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE, read_key_neurons
from keyneurons.artifacts.plain import read_yaml
from keyneurons.artifacts.scores import SCORES_FILE, open_scores
from keyneurons.config.schema import Config
from keyneurons.config.validation import validate_plain
from keyneurons.tracking import Store, log_folder

CONFIG = "config.yaml"
COMPLETE = "neuron_sets"  # a tag that a run gets when all its files are there


class Unfit(ValueError):
    """A file of a run is not there or cannot be read; ``reason`` tells it without the run."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Run:
    """A run of a store: what it was asked, what it found, and where its files are."""

    id: str
    name: str
    status: str
    parent: str | None
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    store: Store = field(repr=False)

    def file(self, name: str) -> Path:
        """An artifact, brought here if it is on a server.

        Raises:
            Unfit: the run has no such file.
        """
        try:
            return self.store.artifact(self.id, name)
        except ValueError as error:
            why = "" if self.status == "FINISHED" else f": its status is {self.status}"
            if not why and name in (CONFIG, KEY_NEURONS_FILE) and COMPLETE in self.tags:
                why = ", though it had one when it ended"
            told = f"run {self.name} ({self.id}) has no {name} in {self.store.uri}{why}"
            raise Unfit(told, f"no {name}{why}") from error

    def config(self) -> Config:
        """Its configuration, checked again; nothing in it is resolved.

        Raises:
            ValueError: there is none, or this version does not take it.
        """
        path = self.file(CONFIG)
        try:
            return validate_plain(read_yaml(path))
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{self._named(CONFIG)} does not fit this version: {reason}") from error

    def key_neurons(self) -> dict[str, Any]:
        """Its key neurons as its file has them.

        Raises:
            Unfit: there are none, or this version does not read them.
        """
        path = self.file(KEY_NEURONS_FILE)
        try:
            found = read_key_neurons(path)
        except (OSError, ValueError) as error:
            told = f"{self._named(KEY_NEURONS_FILE)} cannot be read: {error}"
            raise Unfit(told, f"{KEY_NEURONS_FILE} cannot be read: {error}") from error
        if lacking := [name for name in ("scope", "top_k") if name not in found]:
            why = f"has no {lacking[0]}"
            raise Unfit(f"{self._named(KEY_NEURONS_FILE)} {why}", f"{KEY_NEURONS_FILE} {why}")
        return found

    def _named(self, name: str) -> str:
        version = self.tags.get("keyneurons_version", "unknown")
        return f"{name} of run {self.name} ({self.id}), written by keyneurons {version},"


def log_finished(store: Store, folder: Path) -> str:
    """Send the folder of a finished run that has not reached a store, after all of it was checked.

    Args:
        store: where to.
        folder: the run's folder under ``outputs/``.

    Returns:
        The id of the run.

    Raises:
        ValueError: the folder holds no finished run of this version, or one that was sent already.
    """
    if (path := folder / CONFIG).is_file():
        plain = read_yaml(path)
        methods = _methods_in(plain)
        for each in [plain] if methods is None else [{**plain, "selection": method} for method in methods]:
            try:
                validate_plain(each)
            except ValueError as error:
                raise ValueError(f"{path} is damaged, or of another version: {error}") from error
        if methods is None:
            _check_found(folder)
    return log_folder(store, folder)


def _methods_in(plain: Any) -> list[Any] | None:
    """The methods in the configuration of an agreement, or None where it is of a run."""
    methods = plain.get("selection") if isinstance(plain, dict) else None
    return None if not isinstance(methods, dict) or "_target_" in methods else [*methods.values()]


def _check_found(folder: Path) -> None:
    """Refuse a run whose key neurons or scores are not there or cannot be read.

    Raises:
        ValueError: they are not.
    """
    if missing := [name for name in (KEY_NEURONS_FILE, SCORES_FILE) if not (folder / name).exists()]:
        raise ValueError(f"{folder} holds no finished run: {', '.join(missing)} missing")
    read_key_neurons(folder / KEY_NEURONS_FILE)
    open_scores(folder / SCORES_FILE)


def load_run(store: Store, which: str) -> Run:
    """A run by its MLflow id.

    Raises:
        ValueError: there is none.
    """
    return Run(**store.run(which), store=store)


def find_runs(
    store: Store, *, sweep: str | None = None, experiment: str | None = None, filter: str | None = None
) -> tuple[Run, ...]:
    """The runs of a sweep, of an experiment, or those of the store's experiment that pass a filter; the oldest first.

    Args:
        store: where they are.
        sweep: MLflow id of the parent.
        experiment: name of an MLflow experiment.
        filter: in MLflow's search syntax.

    Returns:
        All of them, whatever their status.

    Raises:
        ValueError: not exactly one is given, or nothing is found.
    """
    given = {"sweep": sweep, "experiment": experiment, "filter": filter}
    asked = {name: value for name, value in given.items() if value is not None}
    if len(asked) != 1:
        raise ValueError(f"give one of sweep=ID, experiment=NAME and filter=..., got {', '.join(asked) or 'none'}")
    [(name, value)] = asked.items()
    if not value.strip():
        raise ValueError(f"{name}= must not be empty")
    runs = tuple(Run(**facts, store=store) for facts in _search(store, name, value))
    if not runs:
        nothing = {
            "sweep": f"run {value} is no sweep: no run in {store.uri} stands below it",
            "experiment": f"experiment {value!r} in {store.uri} has no runs",
            "filter": f"no run of experiment {store.experiment!r} in {store.uri} passes filter={value}",
        }
        raise ValueError(nothing[name])
    return runs


def _search(store: Store, name: str, value: str) -> list[dict[str, Any]]:
    if name == "sweep":
        return store.runs_below(value)
    if name == "experiment":
        return store.search(value, "")
    return store.search(store.experiment, value)
