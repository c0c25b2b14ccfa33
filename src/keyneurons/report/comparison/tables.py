"""Outputs of a comparison of runs: tables, figures, consensus sets and answers as JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keyneurons.analysis.best_runs import Best
from keyneurons.analysis.consensus import runs_needed
from keyneurons.analysis.run_metrics import adjusted
from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE
from keyneurons.artifacts.run_sets import SetGroup, write_consensus
from keyneurons.artifacts.tables import write_table
from keyneurons.atomic_files import write_json
from keyneurons.metric_names import shortened
from keyneurons.metrics import ACCURACY, ADVANTAGE, DEV_ACCURACY, RANDOM_P_VALUE, SPECIAL
from keyneurons.report.comparison.columns import csv_metrics
from keyneurons.report.comparison.curves import curves
from keyneurons.report.comparison.figures import agreement_matrices, tally_figure
from keyneurons.report.comparison.run_table import RunRow
from keyneurons.report.comparison.significance import Significance, significances
from keyneurons.report.figure_style import FigureOptions, styled
from keyneurons.report.panels import X, panels

FORMAT = 1
CURVES: tuple[tuple[X, str, str], ...] = (
    ("top_k", ACCURACY, "accuracy_by_top_k"),
    ("top_k", ADVANTAGE, "advantage_by_top_k"),
    ("layer", ACCURACY, "accuracy_by_layer"),
    ("layer", ADVANTAGE, "advantage_by_layer"),
    ("union_size", ACCURACY, "accuracy_by_union_size"),
)


@dataclass(frozen=True)
class RunComparison:
    """The results of a comparison of runs.

    ``source`` describes the origin of the runs. ``left_out`` has the excluded runs by reason.
    ``not_compared`` is the reason for comparing sets within groups only, if so. ``share`` is the
    share of runs that makes a consensus, None for a majority. ``files`` has the
    ``key_neurons.json`` of every run.
    """

    title: str
    source: Mapping[str, str]
    rows: tuple[RunRow, ...]
    best: tuple[Best, ...]
    groups: tuple[SetGroup, ...]
    not_compared: str | None
    left_out: Mapping[str, tuple[str, ...]]
    share: float | None
    files: Mapping[str, Mapping[str, Any]]

    def row(self, run: str) -> RunRow:
        """The row of a run."""
        return next(row for row in self.rows if row.id == run)

    def labels(self, group: SetGroup) -> list[str]:
        """The labels of the runs of a group."""
        by_id = {row.id: row.label for row in self.rows}
        return [by_id[run] for run in group.sets]


@dataclass(frozen=True)
class Drawn:
    """Paths of the figures as PNG, by name: curves, and the figures of each group."""

    curves: Mapping[str, Path]
    groups: tuple[Mapping[str, Path], ...]


def write_tables(comparison: RunComparison, folder: Path) -> None:
    """Write the tables, the consensus sets and the answers."""
    columns = csv_metrics(comparison.rows)
    factors = list(comparison.rows[0].factors)
    write_table(
        folder / "runs.csv",
        ["run", "name", *factors, *columns],
        [
            [row.id, row.name, *row.factors.values(), *(row.metrics.get(c, "") for c in columns)]
            for row in comparison.rows
        ],
    )
    compared = [group for group in comparison.groups if group.agreement is not None]
    if compared:
        head = ["group", "run_a", "run_b", "label_a", "label_b", "tag", "shared", "size_a", "size_b"]
        rows = [row for group in compared for row in _agreement_rows(comparison, group)]
        write_table(folder / "agreement.csv", [*head, "jaccard", "expected_jaccard"], rows)
        head = ["group", "tag", "layer", "neuron", "runs", "of_runs", "share", "expected_runs", "in_consensus"]
        write_table(folder / "consensus.csv", head, [row for g in compared for row in _consensus_rows(comparison, g)])
    for group, path in consensus_paths(comparison).items():
        write_consensus(folder / path, comparison.groups[group], comparison.files, comparison.share)
    write_json(folder / "comparison.json", answers(comparison))


def draw(comparison: RunComparison, folder: Path, options: FigureOptions) -> Drawn:
    """Draw the curves, and the agreement and consensus of every group of several runs."""
    folder.mkdir(parents=True, exist_ok=True)
    title = ", ".join(
        comparison.source[key] for key in ("model", "dataset", "site", "layer") if key in comparison.source
    )
    drawn, group_figures = {}, []
    with styled(options) as save:
        for x, metric, name in CURVES:
            if shown := panels(comparison.rows, x, metric):
                drawn[name] = save(curves(shown, x, metric, title), folder / name)
        for i, group in enumerate(comparison.groups, start=1):
            own: dict[str, Path] = {}
            if group.agreement is not None:
                number = f"_{i}" if len(comparison.groups) > 1 else ""
                matrices = agreement_matrices(group.agreement, comparison.labels(group), str(group.bound))
                own["agreement"] = save(matrices, folder / f"agreement{number}")
                own["consensus"] = save(tally_figure(group.tally, str(group.bound)), folder / f"consensus{number}")
            group_figures.append(own)
    return Drawn(drawn, tuple(group_figures))


def consensus_paths(comparison: RunComparison) -> dict[int, str]:
    """Relative path of the consensus file of each group of several runs, by index of the group."""
    several = [i for i, group in enumerate(comparison.groups) if group.consensus is not None]
    if len(several) == 1:
        return {several[0]: "consensus/key_neurons.json"}
    bounds = {i: shortened(str(comparison.groups[i].bound).rpartition("/")[2], 60) for i in several}
    names = {i: re.sub(r"[^\w.-]+", "_", bound) for i, bound in bounds.items()}
    suffixes = {i: f"_{i + 1}" if list(names.values()).count(name) > 1 else "" for i, name in names.items()}
    return {i: f"consensus/{name}{suffixes[i]}/{KEY_NEURONS_FILE}" for i, name in names.items()}


def answers(comparison: RunComparison) -> dict[str, Any]:
    """The best runs and the agreement of the sets as JSON."""
    paths = consensus_paths(comparison)
    return {
        "format": FORMAT,
        "source": dict(comparison.source),
        "runs": len(comparison.rows),
        "left_out": {reason: list(names) for reason, names in comparison.left_out.items()},
        "best": [
            {
                **asdict(best),
                "name": comparison.row(best.run).name,
                "asked": dict(comparison.row(best.run).factors),
                "test_accuracy": comparison.row(best.run).metrics.get(ACCURACY),
                "dev_accuracy": comparison.row(best.run).metrics.get(DEV_ACCURACY),
                "p_value": comparison.row(best.run).metrics.get(RANDOM_P_VALUE),
                "p_adjusted": comparison.row(best.run).metrics.get(adjusted(SPECIAL)),
                "chosen_on": "dev" if best.question == "dev" else "test",
            }
            for best in comparison.best
        ],
        "verdicts": [_verdict(comparison, each) for each in significances(comparison.rows)],
        "not_ranked": [row.id for row in comparison.rows if row.one_ranking],
        "not_compared": comparison.not_compared,
        "groups": [_group_facts(group, paths.get(i)) for i, group in enumerate(comparison.groups)],
    }


def _verdict(comparison: RunComparison, counts: Significance) -> dict[str, Any]:
    """A question of the verdict: the number of significant runs, and adjusted p-values by run."""
    name = adjusted(counts.question)
    return {**asdict(counts), "p_adjusted": {r.id: r.metrics[name] for r in comparison.rows if name in r.metrics}}


def mean_agreement(group: SetGroup) -> tuple[float, float, int] | None:
    """Mean Jaccard, its expectation and the number of pairs of runs with a common layer."""
    if group.agreement is None:
        return None
    n = len(group.sets)
    pairs = [
        (float(group.agreement.jaccard[i, j]), float(group.agreement.expected[i, j]))
        for i in range(n)
        for j in range(i + 1, n)
        if not math.isnan(group.agreement.jaccard[i, j])
    ]
    if not pairs:
        return None
    observed, chance = (sum(each) / len(pairs) for each in zip(*pairs, strict=True))
    return observed, chance, len(pairs)


def _group_facts(group: SetGroup, path: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"bound": asdict(group.bound), "runs": list(group.sets)}
    if (means := mean_agreement(group)) is not None:
        facts |= dict(zip(("mean_jaccard", "mean_expected_jaccard", "pairs"), means, strict=True))
    if group.consensus is not None:
        facts["consensus"] = {
            "file": path,
            "neurons": {tag: len(own) for tag, own in group.consensus.tags.items()},
            "expected": dict(group.consensus.expected),
        }
    return facts


def _agreement_rows(comparison: RunComparison, group: SetGroup) -> Iterator[list[object]]:
    """Rows for each pair of runs with a common layer: the mean over the tags, and every tag."""
    agreement = group.agreement
    if agreement is None:
        return
    labels = comparison.labels(group)
    members = [{tag: {(n.layer, n.neuron) for n in own.tags[tag]} for tag in own} for own in group.sets.values()]
    for i, a in enumerate(agreement.runs):
        for j, b in enumerate(agreement.runs[i + 1 :], start=i + 1):
            if math.isnan(agreement.jaccard[i, j]):
                continue
            pair = [str(group.bound), a, b, labels[i], labels[j]]
            yield [*pair, "mean of tags", "", "", "", float(agreement.jaccard[i, j]), float(agreement.expected[i, j])]
            for t, tag in enumerate(agreement.tags):
                if not math.isnan(agreement.jaccard_by_tag[t, i, j]):
                    first, second = members[i][tag], members[j][tag]
                    values = float(agreement.jaccard_by_tag[t, i, j]), float(agreement.expected_by_tag[t, i, j])
                    yield [*pair, tag, len(first & second), len(first), len(second), *values]


def _consensus_rows(comparison: RunComparison, group: SetGroup) -> Iterator[list[object]]:
    for each in group.found:
        counts = each.runs, each.of, each.share, each.expected
        agreed = each.runs >= runs_needed(each.of, comparison.share)
        yield [str(group.bound), each.tag, each.layer, each.neuron, *counts, agreed]
