"""Comparison of finished runs: those of a sweep at its end, or any selection of runs."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keyneurons.analysis.best_runs import best_runs
from keyneurons.artifacts.run_sets import explain_groups, group_sets
from keyneurons.atomic_files import write_text
from keyneurons.progress import stage
from keyneurons.report.comparison.configurations import configurations
from keyneurons.report.comparison.languages import language_groups
from keyneurons.report.comparison.note import markdown
from keyneurons.report.comparison.page import page
from keyneurons.report.comparison.run_table import FinishedRun, run_rows
from keyneurons.report.comparison.saved_figures import draw
from keyneurons.report.comparison.tables import RunComparison, write_tables
from keyneurons.report.figure_style import FigureOptions
from keyneurons.report.phrases import counted
from keyneurons.runs.finished import Run, UnusableRun, find_runs, load_run
from keyneurons.runs.transfer import transfer_between
from keyneurons.tracking import Store, describe, log_best
from keyneurons.version import __version__

ARTIFACTS, PAGE = "comparison", "report.html"


def compare_sweep(store: Store, parent: str, folder: Path, options: FigureOptions) -> RunComparison | None:
    """Compare the finished runs of a sweep and log the comparison to its parent run.

    Args:
        store: the store of the runs.
        parent: MLflow id of the sweep.
        folder: folder for the page and the other files, which are logged under ``comparison``.
        options: options of the figures.

    Returns:
        The comparison, or None if no run is finished and has key neurons.
    """
    runs = find_runs(store, sweep=parent)
    kept, _ = _comparable(runs)
    if not kept:
        return None
    comparison = compare_runs(runs, source_of(store, "sweep", parent), None)
    write_comparison(comparison, folder, options)
    log_comparison(store, parent, comparison, folder)
    return comparison


def compare_runs(runs: Sequence[Run], source: Mapping[str, str], share: float | None) -> RunComparison:
    """Compare the runs that are finished and have key neurons.

    Args:
        runs: the runs; unfinished ones and ones without key neurons are excluded.
        source: origin of the runs, for the header of the report.
        share: share of the runs that makes a consensus; None for a majority.

    Raises:
        ValueError: if no run is finished and has key neurons.
    """
    kept, excluded = _comparable(runs)
    if not kept:
        reasons = "; ".join(f"{reason}: {', '.join(names[:5])}" for reason, names in excluded.items())
        raise ValueError(
            f"no run is finished and has key neurons (of {len(runs)} run{'' if len(runs) == 1 else 's'}; {reasons})"
        )
    with stage(f"comparing {len(kept)} runs"):
        each = run_rows([FinishedRun(run.id, run.name, run.params, run.metrics, run.tags) for run, _ in kept])
        by_run = {run.id: file for run, file in kept}
        files = {row.id: by_run[row.id] for row in each}
        groups = group_sets(files, share)
        rows = configurations(each, [group.agreement for group in groups if group.agreement is not None])
    several = f" of {counted(len(rows), 'configuration')}" if len(rows) < len(each) else ""
    return RunComparison(
        title=f"{counted(len(each), 'run')}{several} compared",
        source={**source, **_facts([run for run, _ in kept], excluded)},
        runs=each,
        rows=rows,
        best=best_runs({row.id: row.metrics for row in rows}),
        groups=groups,
        not_compared=explain_groups(groups),
        left_out={reason: tuple(names) for reason, names in excluded.items()},
        share=share,
        files=files,
        languages=language_groups(rows, {run.id: run.params for run, _ in kept}, files),
    )


def with_transfer(comparison: RunComparison, runs: Sequence[Run]) -> RunComparison:
    """The comparison with the transfer of probes between the languages of every group.

    Raises:
        ValueError: if no runs differ in their treebank only, the data of one cannot be reloaded, or
            the languages have too few tags in common.
    """
    if not comparison.languages:
        raise ValueError("transfer=true needs runs that differ in their treebank only, of the same model and site")
    by_id = {run.id: run for run in runs}
    measured = []
    for group in comparison.languages:
        transfer, of_script = transfer_between({name: by_id[run] for name, run in group.runs.items()})
        measured.append(replace(group, transfer=transfer, of_script=of_script))
    return replace(comparison, languages=tuple(measured))


def write_comparison(comparison: RunComparison, folder: Path, options: FigureOptions) -> Path:
    """Write all files of a comparison and return the path of its page."""
    folder.mkdir(parents=True, exist_ok=True)
    with stage("tables and figures of the comparison"):
        write_tables(comparison, folder)
        draw(comparison, folder / "figures", options)
        write_text(folder / PAGE, page(comparison, folder / "figures"))
    return folder / PAGE


def log_comparison(store: Store, parent: str, comparison: RunComparison, folder: Path) -> None:
    """Log a comparison to the parent run of a sweep.

    Args:
        store: the store of the run.
        parent: MLflow id of the parent run.
        comparison: the comparison.
        folder: the folder of its files.

    Raises:
        ValueError: if the store cannot save it.
    """
    runs = [row.id for row in comparison.runs]
    try:
        with stage("sending the comparison to MLflow"):
            store.add_folder(parent, folder, ARTIFACTS)
            describe(store, parent, markdown(comparison), runs, f"{ARTIFACTS}/{PAGE}")
            names = {row.id: row.name for row in comparison.rows}
            # at equal size, there may be several; the first is that of most runs
            best = {best.question: (names[best.run], best.value) for best in reversed(comparison.best)}
            log_best(store, parent, best)
    except (OSError, ValueError) as error:
        raise ValueError(f"the comparison is in {folder}, but could not be sent to run {parent}: {error}") from error


def _comparable(runs: Sequence[Run]) -> tuple[list[tuple[Run, dict[str, Any]]], dict[str, list[str]]]:
    """The finished runs with their key neurons, and the names of the excluded runs by reason."""
    kept: list[tuple[Run, dict[str, Any]]] = []
    excluded: dict[str, list[str]] = {}
    with stage("reading key neurons", total=len(runs), unit="runs") as progress:
        for run in runs:
            try:
                kept.append((run, _key_neurons(run)))
            except _Excluded as error:
                excluded.setdefault(str(error), []).append(f"{run.name} ({run.id[:8]})")
            progress.advance()
    return kept, excluded


class _Excluded(Exception):
    """The reason why a run is excluded."""


def _key_neurons(run: Run) -> dict[str, Any]:
    if run.status != "FINISHED":
        raise _Excluded(f"status {run.status}")
    try:
        return run.key_neurons()
    except UnusableRun as error:
        raise _Excluded(error.reason) from error


def source_of(store: Store, which: str, value: str) -> dict[str, str]:
    """The origin of the compared runs, for the header of the report."""
    if which == "sweep":
        return {"sweep": f"{load_run(store, value).name} ({value})"}
    if which == "experiment":
        return {"experiment": value}
    return {"experiment": store.experiment, "filter": value}


def _facts(kept: Sequence[Run], excluded: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The values that all runs share, and the number of runs."""
    facts = {}
    for tag in ("model", "dataset", "site", "layer", "basis"):
        values = {run.tags.get(tag, "") for run in kept}
        if len(values) == 1 and (value := values.pop()):
            facts[tag] = value
    others = "; ".join(f"{len(names)} excluded ({reason})" for reason, names in excluded.items())
    facts["runs"] = f"{len(kept)} finished" + (f"; {others}" if others else "")
    facts["compared"] = f"{datetime.datetime.now():%Y-%m-%d %H:%M} by keyneurons {__version__}"
    return facts
