"""Runs of a store, found again: by id, by sweep, by experiment or by a filter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from keyneurons.config import Config, validate
from keyneurons.tracking import Store

CONFIG = "config.yaml"
KEY_NEURONS = "key_neurons.json"


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
            ValueError: the run has no such file.
        """
        try:
            return self.store.artifact(self.id, name)
        except ValueError as error:
            raise ValueError(f"run {self.name} ({self.id}) has no {name} in {self.store.uri}") from error

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
            version = self.tags.get("keyneurons_version", "unknown")
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{CONFIG} of run {self.name} ({self.id}), written by keyneurons {version}, does not fit this version: "
                f"{reason}"
            ) from error

    def key_neurons(self) -> dict[str, Any]:
        """Its key neurons as its file has them.

        Raises:
            ValueError: there are none, or the file is none of ours.
        """
        try:
            found: dict[str, Any] = json.loads(self.file(KEY_NEURONS).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{KEY_NEURONS} of run {self.name} ({self.id}) is no JSON: {error}") from error
        return found


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
