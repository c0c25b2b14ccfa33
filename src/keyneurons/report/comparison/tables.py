"""Outputs of a comparison of runs: tables, figures, consensus sets and answers as JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from keyneurons.analysis.best_runs import Best
from keyneurons.analysis.run_metrics import adjusted
from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE
from keyneurons.artifacts.run_sets import SetGroup, write_consensus
from keyneurons.artifacts.tables import write_table
from keyneurons.atomic_files import write_json
from keyneurons.metric_names import shortened
from keyneurons.metrics import ACCURACY, DEV_ACCURACY, RANDOM_P_VALUE, SPECIAL
from keyneurons.report.comparison import depths as by_depth
from keyneurons.report.comparison.columns import csv_metrics
from keyneurons.report.comparison.language_tables import write_language_tables
from keyneurons.report.comparison.languages import LanguageGroup
from keyneurons.report.comparison.run_table import RunRow
from keyneurons.report.comparison.set_tables import agreement_rows, consensus_rows, mean_agreement
from keyneurons.report.comparison.significance import Significance, significances
from keyneurons.report.comparison.trajectories import (
    NEURONS_HEAD,
    TABLE_HEAD,
    OverSteps,
    neuron_rows,
    table_rows,
    trajectories,
)

FORMAT = 1


@dataclass(frozen=True)
class RunComparison:
    """The results of a comparison of runs.

    ``runs`` has one row per run; in ``rows``, runs that differ in their seed only are one row, a
    configuration. Best runs are those of ``rows``. ``source`` describes the origin of the runs.
    ``left_out`` has the excluded runs by reason. ``not_compared`` is the reason for comparing sets
    within groups only, if so. ``share`` is the share of runs that makes a consensus, None for a
    majority. ``files`` has the ``key_neurons.json`` of every run. ``languages`` are the rows that
    differ in their treebank only.
    """

    title: str
    source: Mapping[str, str]
    runs: tuple[RunRow, ...]
    rows: tuple[RunRow, ...]
    best: tuple[Best, ...]
    groups: tuple[SetGroup, ...]
    not_compared: str | None
    left_out: Mapping[str, tuple[str, ...]]
    share: float | None
    files: Mapping[str, Mapping[str, Any]]
    languages: tuple[LanguageGroup, ...] = ()

    @property
    def has_replicates(self) -> bool:
        """Whether some row is the mean of several runs."""
        return any(row.replicates for row in self.rows)

    @cached_property
    def trajectories(self) -> tuple[OverSteps, ...]:
        """The runs of several revisions of one model, in the order of their steps."""
        return trajectories(self.runs, self.groups)

    @cached_property
    def depths(self) -> tuple[by_depth.OverDepth, ...]:
        """The runs of several models on single layers, by model."""
        return by_depth.depths(self.rows, self.groups)

    def row(self, run: str) -> RunRow:
        """The row with the id of a run, the first one of a configuration."""
        return next(row for row in self.rows if row.id == run)

    def labels(self, group: SetGroup) -> list[str]:
        """The labels of the runs of a group."""
        by_id = {row.id: row.label for row in self.runs}
        return [by_id[run] for run in group.sets]


def write_tables(comparison: RunComparison, folder: Path) -> None:
    """Write the tables, the consensus sets and the answers."""
    _write_rows(folder / "runs.csv", comparison.runs, {"run": lambda row: row.id, "name": lambda row: row.name})
    of_rows = {"configuration": lambda row: row.label, "runs": lambda row: " ".join(run.id for run in row.runs)}
    _write_rows(folder / "configurations.csv", comparison.rows, of_rows)
    compared = [group for group in comparison.groups if group.agreement is not None]
    if compared:
        head = ["group", "run_a", "run_b", "label_a", "label_b", "tag", "shared", "size_a", "size_b"]
        rows = [row for group in compared for row in agreement_rows(comparison, group)]
        write_table(folder / "agreement.csv", [*head, "jaccard", "expected_jaccard"], rows)
        head = ["group", "tag", "layer", "neuron", "runs", "of_runs", "share", "expected_runs", "in_consensus"]
        write_table(folder / "consensus.csv", head, [row for g in compared for row in consensus_rows(comparison, g)])
    for group, path in consensus_paths(comparison).items():
        write_consensus(folder / path, comparison.groups[group], comparison.files, comparison.share)
    if over_steps := comparison.trajectories:
        write_table(folder / "trajectory.csv", TABLE_HEAD, [row for each in over_steps for row in table_rows(each)])
        neurons = [row for each in over_steps for row in neuron_rows(each)]
        write_table(folder / "trajectory_neurons.csv", NEURONS_HEAD, neurons)
    if comparison.depths:
        rows = [row for each in comparison.depths for row in by_depth.table_rows(each)]
        write_table(folder / "depth.csv", by_depth.TABLE_HEAD, rows)
    write_language_tables(comparison.languages, folder)
    write_json(folder / "comparison.json", answers(comparison))


def _write_rows(path: Path, rows: Sequence[RunRow], first: Mapping[str, Callable[[RunRow], str]]) -> None:
    """Write a table of rows with their factors and metrics, after some first columns."""
    columns = csv_metrics(rows)
    cells = [
        [*(of(row) for of in first.values()), *row.factors.values(), *(row.metrics.get(c, "") for c in columns)]
        for row in rows
    ]
    write_table(path, [*first, *rows[0].factors, *columns], cells)


def consensus_paths(comparison: RunComparison) -> dict[int, str]:
    """Relative path of the consensus file of each group of several runs, by index of the group."""
    several = [i for i, group in enumerate(comparison.groups) if group.consensus is not None]
    if len(several) == 1:
        return {several[0]: "consensus/key_neurons.json"}
    bounds = {i: shortened(str(comparison.groups[i].lineage).rpartition("/")[2], 60) for i in several}
    names = {i: re.sub(r"[^\w.-]+", "_", bound) for i, bound in bounds.items()}
    suffixes = {i: f"_{i + 1}" if list(names.values()).count(name) > 1 else "" for i, name in names.items()}
    return {i: f"consensus/{name}{suffixes[i]}/{KEY_NEURONS_FILE}" for i, name in names.items()}


def answers(comparison: RunComparison) -> dict[str, Any]:
    """The best runs and the agreement of the sets as JSON."""
    paths = consensus_paths(comparison)
    return {
        "format": FORMAT,
        "source": dict(comparison.source),
        "runs": len(comparison.runs),
        "configurations": [_configuration(row) for row in comparison.rows],
        "left_out": {reason: list(names) for reason, names in comparison.left_out.items()},
        "best": [_best(best, comparison.row(best.run)) for best in comparison.best],
        "verdicts": [_verdict(comparison, each) for each in significances(comparison.rows)],
        "not_ranked": [row.id for row in comparison.rows if row.one_ranking],
        "not_compared": comparison.not_compared,
        "trajectories": [
            {"name": each.title, "steps": dict(zip(each.steps, (row.id for row in each.rows), strict=True))}
            for each in comparison.trajectories
        ],
        "groups": [_group_facts(group, paths.get(i)) for i, group in enumerate(comparison.groups)],
        "languages": [
            {"settings": own.title, "runs": dict(own.runs), "notes": list(own.notes)} for own in comparison.languages
        ],
    }


def _configuration(row: RunRow) -> dict[str, Any]:
    """A row with its runs, and the metrics of the table, which are means over several runs."""
    metrics = {name: row.metrics[name] for name in csv_metrics([row])}
    return {"name": row.label, "runs": [run.id for run in row.runs], "asked": dict(row.factors), "metrics": metrics}


def _best(best: Best, row: RunRow) -> dict[str, Any]:
    return {
        **asdict(best),
        "runs": [run.id for run in row.runs],
        "name": row.name,
        "asked": dict(row.factors),
        "test_accuracy": row.metrics.get(ACCURACY),
        "dev_accuracy": row.metrics.get(DEV_ACCURACY),
        "p_value": row.metrics.get(RANDOM_P_VALUE),
        "p_adjusted": row.metrics.get(adjusted(SPECIAL)),
        "chosen_on": "dev" if best.question == "dev" else "test",
    }


def _verdict(comparison: RunComparison, counts: Significance) -> dict[str, Any]:
    """A question of the verdict: the number of significant rows, and adjusted p-values by id."""
    name = adjusted(counts.question)
    return {
        "question": counts.question,
        "tested": counts.tested,
        "significant": counts.significant,
        "p_adjusted": {row.id: row.metrics[name] for row in comparison.rows if name in row.metrics},
    }


def _group_facts(group: SetGroup, path: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "bound": {**asdict(group.lineage), "revisions": list(group.revisions)},
        "runs": list(group.sets),
    }
    if (means := mean_agreement(group)) is not None:
        facts |= dict(zip(("mean_jaccard", "mean_expected_jaccard", "pairs"), means, strict=True))
    if group.consensus is not None:
        facts["consensus"] = {
            "file": path,
            "neurons": {tag: len(own) for tag, own in group.consensus.tags.items()},
            "expected": dict(group.consensus.expected),
        }
    return facts
