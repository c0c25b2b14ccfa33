"""Python interface: start runs and load results, for notebooks and custom searches."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keyneurons.cli.process import set_environment
from keyneurons.runs.refused import removed_if_refused

if TYPE_CHECKING:
    from pandas import DataFrame

    from keyneurons.config.schema import Config
    from keyneurons.records import NeuronSets
    from keyneurons.runs.finished import Run


@dataclass(frozen=True)
class RunResult:
    """The result of a run: metrics by name, the key neurons of every tag and the output folder.

    ``id`` is the MLflow run id, or None if the tracking server was unreachable.
    """

    id: str | None
    folder: Path
    config: Config
    metrics: Mapping[str, float]
    sets: NeuronSets

    def key_neurons(self) -> DataFrame:
        """Tabulate the key neurons: tag, rank, layer, neuron, score, p_value."""
        from pandas import DataFrame

        rows = [
            (tag, rank, n.layer, n.neuron, n.score, n.p_value)
            for tag in self.sets
            for rank, n in enumerate(self.sets.tags[tag], 1)
        ]
        return DataFrame(rows, columns=["tag", "rank", "layer", "neuron", "score", "p_value"])

    def overlap(self) -> DataFrame:
        """Count the key neurons shared by each pair of tags, ``[tags, tags]``."""
        from pandas import DataFrame

        from keyneurons.artifacts.overlap import read_overlap_counts

        names, matrix = read_overlap_counts(self.folder)
        return DataFrame(matrix, index=names, columns=names)

    def hypotheses(self) -> DataFrame:
        """Tabulate effects of lesions and predicted deficits, one row per tag.

        The columns are those of ``keyneurons hypotheses``.
        """
        from pandas import DataFrame

        from keyneurons.build.tracking import build_store
        from keyneurons.report.hypotheses.tables import COLUMNS, hypothesis_values
        from keyneurons.runs.folders import find_run
        from keyneurons.runs.hypotheses import hypotheses_of_run

        finished = find_run(self.folder, build_store(self.config.tracking))
        return DataFrame(hypothesis_values(hypotheses_of_run(finished)), columns=COLUMNS)


class UsageError(ValueError):
    """An invalid override, run or file; the message is the line that the command line shows."""


@contextmanager
def _one_line(overrides: Sequence[str]) -> Generator[None]:
    """Report mistakes as the command line does, without the chain of errors that led to them.

    Raises:
        UsageError: for every mistake.
    """
    from keyneurons.cli.errors import is_mistake, one_line

    try:
        yield
    except Exception as error:
        if isinstance(error, UsageError) or not is_mistake(error):
            raise
        raise UsageError(one_line(error, overrides)) from None


def run(*overrides: str, config_dir: str | Path | None = None) -> RunResult:
    """Run one configuration, saved and tracked like ``keyneurons OVERRIDES`` on the command line.

    Args:
        overrides: Overrides such as ``"selection=l1_probe"`` or ``"layer=8"``.
        config_dir: A folder with your own options, as for ``--config-dir``.

    Returns:
        The result of the run.

    Raises:
        UsageError: If the configuration or the data are invalid; one line gives the reason.
    """
    set_environment()
    with _one_line(overrides):
        return _run(overrides, None if config_dir is None else Path(config_dir))


def _run(overrides: Sequence[str], config_dir: Path | None) -> RunResult:
    from keyneurons.artifacts.run_facts import read_logged
    from keyneurons.build.experiment import build_experiment
    from keyneurons.config.compose import checked_with_choices
    from keyneurons.config.paths import output_folder
    from keyneurons.quiet import import_progress_bars
    from keyneurons.runs.job import tracked_run

    import_progress_bars()
    config, choices = checked_with_choices(overrides, config_dir)
    experiment = build_experiment(config, choices["selection"])
    folder = output_folder()
    with removed_if_refused(folder):
        folder.mkdir(parents=True)
        result, _, is_tracked = tracked_run(experiment, config, folder.absolute(), choices)
    run_id = read_logged(folder) if is_tracked else None
    return RunResult(run_id, folder.absolute(), config, result.metrics, result.key_neurons.sets)


def load_run(run: str | Path, *overrides: str) -> Run:
    """Load a run from the tracking store by its MLflow id, or from its folder.

    Args:
        run: The run id, the run's folder under ``outputs/`` or the folder of a publication.
        overrides: Overrides of the store, such as ``"tracking.uri=http://..."``.

    Returns:
        The run with its configuration, results, tables and files.

    Raises:
        UsageError: If the run does not exist.
    """
    set_environment()
    with _one_line(overrides):
        from keyneurons.cli.commands import store_of
        from keyneurons.runs.folders import find_run

        return find_run(run, store_of(overrides))


def find_runs(*overrides: str, **which: str) -> tuple[Run, ...]:
    """Find runs by sweep (``sweep=ID``), MLflow experiment (``experiment=NAME``) or ``filter``.

    Args:
        overrides: Overrides of the store, as for ``load_run``.
        which: Exactly one of ``sweep``, ``experiment`` and ``filter`` (MLflow's search syntax).

    Returns:
        All matching runs, the oldest first.

    Raises:
        UsageError: If not exactly one criterion is given, or no run matches.
    """
    set_environment()
    with _one_line(overrides):
        from keyneurons.cli.commands import store_of
        from keyneurons.runs import finished as runs

        return runs.find_runs(store_of(overrides), **which)


def runs_table(runs: Iterable[Run]) -> DataFrame:
    """Tabulate runs: one row per run with its params and metrics."""
    from pandas import DataFrame

    return DataFrame([{"run": r.id, "name": r.name, **r.params, **r.metrics} for r in runs])
