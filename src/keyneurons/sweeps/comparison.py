"""Comparison of finished runs: of a sweep at its end, or of any that a user names."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keyneurons.analysis.best_runs import best_runs
from keyneurons.artifacts.run_sets import explain_groups, group_sets
from keyneurons.atomic_files import write_text
from keyneurons.report.comparison.note import markdown
from keyneurons.report.comparison.page import page
from keyneurons.report.comparison.run_table import FinishedRun, run_rows
from keyneurons.report.comparison.tables import RunComparison, draw, write_tables
from keyneurons.runs.finished import Run, Unfit, find_runs, load_run
from keyneurons.tracking import Store, describe
from keyneurons.version import __version__

ARTIFACTS = "comparison"


def compare_sweep(store: Store, parent: str, folder: Path) -> Path | None:
    """Compare the finished runs of a sweep and log what is found to its parent run.

    Args:
        store: where the runs are.
        parent: MLflow id of the sweep.
        folder: where the files go; they are logged under ``comparison``.

    Returns:
        The page, or None where no run is finished and has key neurons.
    """
    runs = find_runs(store, sweep=parent)
    kept, _ = _comparable(runs)
    if not kept:
        return None
    found = compare_runs(runs, source_of(store, "sweep", parent), None)
    written = write_comparison(found, folder)
    log_comparison(store, parent, found, folder)
    return written


def compare_runs(runs: Sequence[Run], source: Mapping[str, str], share: float | None) -> RunComparison:
    """Compare those runs that are finished and have key neurons.

    Raises:
        ValueError: there is none.
    """
    kept, left_out = _comparable(runs)
    if not kept:
        told = "; ".join(f"{reason}: {', '.join(names[:5])}" for reason, names in left_out.items())
        raise ValueError(f"none of {len(runs)} runs is finished and has key neurons ({told})")
    rows = run_rows([FinishedRun(run.id, run.name, run.params, run.metrics, run.tags) for run, _ in kept])
    by_run = {run.id: file for run, file in kept}
    files = {row.id: by_run[row.id] for row in rows}
    groups = group_sets(files, share)
    return RunComparison(
        title=f"{len(rows)} run{'' if len(rows) == 1 else 's'} compared",
        source={**source, **_facts([run for run, _ in kept], left_out)},
        rows=rows,
        best=best_runs({row.id: row.metrics for row in rows}),
        groups=groups,
        not_compared=explain_groups(groups),
        left_out={reason: tuple(names) for reason, names in left_out.items()},
        share=share,
        files=files,
    )


def write_comparison(found: RunComparison, folder: Path) -> Path:
    """Write all files of a comparison; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(found, folder)
    drawn = draw(found, folder / "figures")
    write_text(folder / "report.html", page(found, drawn))
    return folder / "report.html"


def log_comparison(store: Store, parent: str, found: RunComparison, folder: Path) -> None:
    """Add a comparison to the sweep's run.

    Args:
        store: where the run is.
        parent: its MLflow id.
        found: the comparison.
        folder: its files.

    Raises:
        ValueError: the store does not take it.
    """
    try:
        store.add_folder(parent, folder, ARTIFACTS)
        describe(store, parent, markdown(found), [row.id for row in found.rows], f"{ARTIFACTS}/report.html")
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds the comparison, but run {parent} does not: {error}") from error


def _comparable(runs: Sequence[Run]) -> tuple[list[tuple[Run, dict[str, Any]]], dict[str, list[str]]]:
    """The finished runs with their key neurons, and by reason the names of the others."""
    kept: list[tuple[Run, dict[str, Any]]] = []
    left_out: dict[str, list[str]] = {}
    for run in runs:
        try:
            kept.append((run, _key_neurons(run)))
        except _LeftOut as error:
            left_out.setdefault(str(error), []).append(f"{run.name} ({run.id[:8]})")
    return kept, left_out


class _LeftOut(Exception):
    """Why a run does not count."""


def _key_neurons(run: Run) -> dict[str, Any]:
    if run.status != "FINISHED":
        raise _LeftOut(f"status {run.status}")
    try:
        return run.key_neurons()
    except Unfit as error:
        raise _LeftOut(error.reason) from error


def source_of(store: Store, which: str, value: str) -> dict[str, str]:
    """Where the compared runs are from, for the head of the report."""
    if which == "sweep":
        return {"sweep": f"{load_run(store, value).name} ({value})"}
    if which == "experiment":
        return {"experiment": value}
    return {"experiment": store.experiment, "filter": value}


def _facts(kept: Sequence[Run], left_out: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What is the same for all runs, and how many there are."""
    facts = {}
    for tag in ("model", "dataset", "site", "layer"):
        values = {run.tags.get(tag, "") for run in kept}
        if len(values) == 1 and (value := values.pop()):
            facts[tag] = value
    others = "; ".join(f"{len(names)} left out ({reason})" for reason, names in left_out.items())
    facts["runs"] = f"{len(kept)} finished" + (f"; {others}" if others else "")
    facts["compared"] = f"{datetime.datetime.now():%Y-%m-%d %H:%M} by keyneurons {__version__}"
    return facts
