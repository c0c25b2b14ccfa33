"""Runs to compare side by side: found in a store, a folder or a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path

from keyneurons.analysis.overlap import overlap
from keyneurons.analysis.run_differences import Predictions, run_differences
from keyneurons.analysis.shared_sets import Runs, SharedSets, shared_sets
from keyneurons.artifacts.bound import Lineage
from keyneurons.artifacts.key_neurons import local_key_neurons, read_key_neurons, sets_in
from keyneurons.artifacts.metrics import METRICS_FILE, read_metrics
from keyneurons.artifacts.predictions import PREDICTIONS_FILE, read_predictions
from keyneurons.artifacts.run_facts import RUN_FILE, read_logged, read_run_facts
from keyneurons.config.derived import derived_in
from keyneurons.progress import stage
from keyneurons.records import NeuronSets
from keyneurons.report.comparison.side_by_side import LETTERS, Side, SideBySide
from keyneurons.runs.finished import CONFIG, Run, UnusableRun, load_run
from keyneurons.tracking import Store, TrackingRefused, params_of


def compare_side_by_side(which: Sequence[str], store: Store) -> SideBySide:
    """Compare several runs; sets of other models or sites are excluded, without an error.

    Args:
        which: an MLflow run id, a folder of a run or a ``key_neurons.json`` for each.
        store: the store of the runs.

    Raises:
        ValueError: a run is missing, damaged or given twice, or there are too many runs.
    """
    if len(which) > len(LETTERS):
        raise ValueError(f"compare takes up to {len(LETTERS)} runs, got {len(which)}")
    with stage("reading the runs"):
        sides = tuple(_side(each, store) for each in which)
    for a, b in combinations(range(len(sides)), 2):
        if sides[a].id == sides[b].id:
            raise ValueError(f"{which[a]} and {which[b]} are the same run; compare takes different runs")
    files = [sets_in(side.file) for side in sides]
    sets, reason = _shared([bound.lineage for bound, _ in files], [own for _, own in files])
    tags = tuple(sorted(set.intersection(*(set(own) for _, own in files))))
    with stage("comparing the runs"):
        overlaps = tuple(overlap(_only(own, tags)) for _, own in files) if tags else ()
        known = {run: side.predictions for run, side in enumerate(sides) if side.predictions is not None}
        pairs: list[Runs] = [*combinations(known, 2)]
        differences = {pair: run_differences(*(known[run] for run in pair)) for pair in pairs}
    return SideBySide(sides, sets, reason, tags, overlaps, differences)


def _shared(bounds: Sequence[Lineage], sets: Sequence[NeuronSets]) -> tuple[SharedSets | None, str]:
    """The comparison of the sets, or None with the reason why they are not comparable."""
    for name in (field.name for field in fields(Lineage) if field.name != "tag_column"):
        values = [getattr(bound, name) for bound in bounds]
        if len(set(values)) > 1:
            given = ", ".join(f"{letter} has {value}" for letter, value in zip(LETTERS, values, strict=False))
            return None, f"neurons of different {name} are not comparable ({given})"
    try:
        return shared_sets(sets), ""
    except ValueError as error:
        return None, str(error)


def _only(sets: NeuronSets, tags: Sequence[str]) -> NeuronSets:
    return replace(sets, tags={tag: sets.tags[tag] for tag in tags})


def _side(which: str, store: Store) -> Side:
    if (path := local_key_neurons(which)) is not None:
        return _local(which, path, Path(which).expanduser())
    try:
        run = load_run(store, which)
    except TrackingRefused:  # the store itself is unreadable
        raise
    except ValueError as error:
        raise ValueError(f"{which!r} is neither a file, a folder nor a run: {error}") from error
    return Side(
        id=run.id,
        name=f"{run.name} ({run.id})",
        file=run.key_neurons(),
        metrics=run.metrics,
        params=run.params,
        derived=derived_in(run.tags),
        predictions=_predictions(run),
    )


def _predictions(run: Run) -> Predictions | None:
    """The predictions of a run; None if it has none, as runs without key neurons."""
    try:
        path = run.file(PREDICTIONS_FILE)
    except UnusableRun:
        return None
    return read_predictions(path)


def _local(which: str, path: Path, folder: Path) -> Side:
    """A run in a folder, or bare sets in a file."""
    has_run, predictions = (folder / CONFIG).is_file() and (folder / RUN_FILE).is_file(), folder / PREDICTIONS_FILE
    facts = read_run_facts(folder) if has_run else None
    choices = {} if facts is None else {f"choice.{group}": option for group, option in facts.choices.items()}
    return Side(
        id=read_logged(path.parent) or str(path.resolve()),
        name=which,
        file=read_key_neurons(path),
        metrics=read_metrics(folder) if (folder / METRICS_FILE).is_file() else {},
        params={} if facts is None else {**choices, **params_of(folder)},
        derived=() if facts is None else derived_in(facts.tags),
        predictions=read_predictions(predictions) if predictions.is_file() else None,
    )
