"""The same runs from Python: for notebooks, and for searches that choose the next configuration themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

    from keyneurons.config.schema import Config
    from keyneurons.records import NeuronSets
    from keyneurons.runs.finished import Run


@dataclass(frozen=True)
class RunResult:
    """What a run found: metrics by name, the key neurons of every tag, the folder with everything else.

    ``id`` is that of its MLflow run, or None where the tracking server was away.
    """

    id: str | None
    folder: Path
    config: Config
    metrics: Mapping[str, float]
    sets: NeuronSets

    def key_neurons(self) -> DataFrame:
        """A row for every key neuron: tag, rank, layer, neuron, score, p_value."""
        from pandas import DataFrame

        rows = [
            (tag, rank, n.layer, n.neuron, n.score, n.p_value)
            for tag in self.sets
            for rank, n in enumerate(self.sets.tags[tag], 1)
        ]
        return DataFrame(rows, columns=["tag", "rank", "layer", "neuron", "score", "p_value"])

    def overlap(self) -> DataFrame:
        """How many key neurons every two tags share, ``[tags, tags]``."""
        from pandas import DataFrame

        from keyneurons.artifacts.overlap import read_overlap_counts

        names, matrix = read_overlap_counts(self.folder)
        return DataFrame(matrix, index=names, columns=names)


def run(*overrides: str, config_dir: str | Path | None = None) -> RunResult:
    """Do one run, as ``keyneurons OVERRIDES`` does on the command line; it is kept and tracked in the same way.

    Args:
        overrides: such as ``"selection=l1_probe"``, ``"layer=8"``.
        config_dir: a folder of options of your own, as ``--config-dir`` takes it.

    Returns:
        What was found.

    Raises:
        ValueError: the configuration or the data do not allow it; one line says why.
    """
    _quiet()
    from keyneurons.artifacts.run_facts import read_logged
    from keyneurons.build.experiment import build_experiment
    from keyneurons.config.compose import checked_with_choices
    from keyneurons.config.paths import output_folder
    from keyneurons.runs.job import tracked_run

    config, choices = checked_with_choices(overrides, None if config_dir is None else Path(config_dir))
    folder = output_folder()
    folder.mkdir(parents=True)
    experiment = build_experiment(config, choices["selection"])
    found, _, arrived = tracked_run(experiment, config, folder.absolute(), choices)
    return RunResult(
        read_logged(folder) if arrived else None, folder.absolute(), config, found.metrics, found.key_neurons.sets
    )


def load_run(run: str, *overrides: str) -> Run:
    """A run of the tracking store, by its MLflow id.

    Args:
        run: the id.
        overrides: such as ``"tracking.uri=http://..."``.

    Returns:
        What it was asked, what it found, and its files.

    Raises:
        ValueError: there is none.
    """
    _quiet()
    from keyneurons.cli.commands import store_of
    from keyneurons.runs import finished as runs

    return runs.load_run(store_of(overrides), run)


def find_runs(*overrides: str, **which: str) -> tuple[Run, ...]:
    """The runs of a sweep (``sweep=ID``), of an MLflow experiment (``experiment=NAME``), of a filter (``filter=...``).

    Args:
        overrides: as for :func:`load_run`.
        which: one of the three.

    Returns:
        All of them, the oldest first.

    Raises:
        ValueError: not one of the three is given, or nothing is found.
    """
    _quiet()
    from keyneurons.cli.commands import store_of
    from keyneurons.runs import finished as runs

    return runs.find_runs(store_of(overrides), **which)


def runs_table(runs: Iterable[Run]) -> DataFrame:
    """A row for every run: its params, and its metrics behind them."""
    from pandas import DataFrame

    return DataFrame([{"run": r.id, "name": r.name, **r.params, **r.metrics} for r in runs])


def _quiet() -> None:
    from keyneurons.cli.main import ENVIRONMENT

    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
