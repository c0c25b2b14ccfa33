"""Runs of a store, found again: by id, by sweep, by experiment or by a filter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from keyneurons.config import Config, validate
from keyneurons.pipeline.run_sets import sets_in
from keyneurons.tracking import Store

CONFIG = "config.yaml"
KEY_NEURONS = "key_neurons.json"
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
            if not why and name in (CONFIG, KEY_NEURONS) and COMPLETE in self.tags:
                why = ", though it had one when it ended"
            told = f"run {self.name} ({self.id}) has no {name} in {self.store.uri}{why}"
            raise Unfit(told, f"no {name}{why}") from error

    def config(self) -> Config:
        """Its configuration, checked again.

        Raises:
            ValueError: there is none, or this version does not take it.
        """
        path = self.file(CONFIG)
        try:
            composed = OmegaConf.load(path)
            if not isinstance(composed, DictConfig):
                raise ValueError("it is no mapping")
            return validate(composed)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{self._named(CONFIG)} does not fit this version: {reason}") from error

    def key_neurons(self) -> dict[str, Any]:
        """Its key neurons as its file has them.

        Raises:
            Unfit: there are none, or this version does not read them.
        """
        path = self.file(KEY_NEURONS)
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            _check(found)
        except ValueError as error:
            told = f"{self._named(KEY_NEURONS)} cannot be read: {error}"
            raise Unfit(told, f"{KEY_NEURONS} cannot be read: {error}") from error
        return found

    def _named(self, name: str) -> str:
        version = self.tags.get("keyneurons_version", "unknown")
        return f"{name} of run {self.name} ({self.id}), written by keyneurons {version},"


def _check(file: Mapping[str, Any]) -> None:
    """Refuse a ``key_neurons.json`` that lacks what a page on a run tells.

    Raises:
        ValueError: it does, or it is of another format.
    """
    sets_in(file)
    try:
        told = [file[name] for name in ("read_at", "method", "scope", "top_k")]
        told += [file["dataset"][name] for name in ("id", "digest")]
        told += [neuron[name] for own in file["tags"].values() for neuron in own for name in ("p_value", "p_adjusted")]
    except (KeyError, TypeError) as error:
        raise ValueError(f"no key_neurons.json of this version: {error!r}") from error


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
