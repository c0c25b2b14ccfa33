"""Reads what finished runs of one model and treebank measured that bears on published claims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from keyneurons.artifacts.key_neurons import sets_in
from keyneurons.artifacts.metrics import METRICS_FILE, read_metrics
from keyneurons.progress import stage
from keyneurons.report.claims.judging import judge
from keyneurons.report.claims.records import ClaimPage, MeasuredRun
from keyneurons.runs.finished import Run, find_runs, load_run
from keyneurons.runs.folders import folder_run
from keyneurons.runs.hypotheses import hypotheses_of_run
from keyneurons.tracking import Store

SAME = {"model": "model", "dataset": "treebank"}


def claims_of_runs(which: Sequence[str], store: Store) -> ClaimPage:
    """Judge all claims by some runs.

    Args:
        which: MLflow ids of runs or sweeps, or folders of runs.
        store: the store of the ids.

    Raises:
        ValueError: a run is missing, unfinished or damaged, or they differ in model or treebank.
    """
    with stage("reading the runs"):
        found = {run.id: run for each in which for run in _found(each, store)}
        runs = [_measured(run) for run in found.values()]
    for name, word in SAME.items():
        ids = sorted({str(run.key[name]["id"]) for run in runs})
        if len(ids) > 1:
            raise ValueError(f"claims takes runs of one {word}, got {', '.join(ids)}")
    model, dataset = runs[0].key["model"], runs[0].key["dataset"]
    facts = {
        "model": f"{model['id']} ({model['revision']})",
        "treebank": str(dataset["id"]),
        "runs": str(len(runs)),
    }
    return ClaimPage(facts, judge(runs))


def _found(which: str, store: Store) -> Iterator[Run]:
    """The run of a name, or the finished runs of a sweep.

    Raises:
        ValueError: there is no such run, or no run of the sweep is finished.
    """
    folder = Path(which).expanduser()
    if which.strip() and folder.is_dir():
        yield folder_run(folder, store)
    elif store.runs_below(which):
        finished = [run for run in find_runs(store, sweep=which) if run.status == "FINISHED"]
        if not finished:
            raise ValueError(f"sweep {which} has no finished run")
        yield from finished
    else:
        yield load_run(store, which)


def _measured(run: Run) -> MeasuredRun:
    if run.status != "FINISHED":
        raise ValueError(f"run {run.name} ({run.id}) is not finished: its status is {run.status or 'unknown'}")
    config, key = run.config(), run.key_neurons()
    if "basis" in key:
        raise ValueError(
            f"run {run.name} ({run.id}) has units of basis={key['basis']['name']}; claims are about neurons"
        )
    _, sets = sets_in(key)
    metrics = read_metrics(run.file(METRICS_FILE).parent)
    hypotheses = None if config.lesion is None else hypotheses_of_run(run)
    return MeasuredRun(run.name, key, sets, metrics, config.layer, hypotheses)
