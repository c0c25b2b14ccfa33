"""Tables of a run: ``key_neurons.csv``, ``per_tag.csv``, and ``tables/`` for MLflow's table view.

The table view shows one column of several runs side by side. It groups rows by the first column at
first, filters them by their groups, and shows the second column, so the first identifies the row in
every run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from keyneurons.analysis.overlap import Overlap
from keyneurons.artifacts.plain import Strict, read_json, validate
from keyneurons.artifacts.tables import Table
from keyneurons.pipeline.evidence import Evidence
from keyneurons.pipeline.per_tag import per_tag_metrics
from keyneurons.records import Labels, NeuronSets

KEY_NEURONS_TABLE, PER_TAG_TABLE = "key_neurons.csv", "per_tag.csv"
MLFLOW_TABLES = tuple(f"tables/{name}.json" for name in ("key_neurons", "overlap", "per_tag"))
"""The first one is shown first."""

MAX_ROWS = 5000
"""Rows of a table for MLflow, whose page takes seconds for more."""

KEY_NEURON_COLUMNS = ("tag", "rank", "site", "layer", "basis", "neuron", "score", "p_value", "p_adjusted")
PER_TAG_MEASURES = ("f1", "random_f1", "difference", "difference_low", "difference_high", "p_value", "p_adjusted")

log = logging.getLogger(__name__)


class MlflowTable(Strict):
    """A table in MLflow's format."""

    columns: Annotated[list[str], Field(min_length=1)]
    data: list[list[str | int | float | None]]

    @model_validator(mode="after")
    def _rectangular(self) -> MlflowTable:
        if any(len(row) != len(self.columns) for row in self.data):
            raise ValueError(f"a row does not have the {len(self.columns)} cells of columns")
        return self


def write_run_tables(folder: Path, sets: NeuronSets, overlap: Overlap, evidence: Evidence, labels: Labels) -> None:
    """Write the tables of key neurons, pairs of tags and tags into a run's folder."""
    key_neurons, per_tag = key_neurons_table(sets), per_tag_table(sets, evidence, labels)
    key_neurons.write_csv(folder / KEY_NEURONS_TABLE)
    per_tag.write_csv(folder / PER_TAG_TABLE)
    tables = (aligned_key_neurons(sets), overlap_table(overlap), per_tag)
    for name, table in zip(MLFLOW_TABLES, tables, strict=True):
        table.write_json(folder / name)


def mlflow_tables(folder: Path) -> list[str]:
    """The tables for MLflow that a run's folder has; a run of several methods has none.

    Raises:
        ValueError: a table is damaged.
    """
    names = [name for name in MLFLOW_TABLES if (folder / name).exists()]
    for name in names:
        validate(MlflowTable, read_json(folder / name), folder / name)
    return names


def key_neurons_table(sets: NeuronSets) -> Table:
    """Every key neuron of every tag, the strongest of a tag first."""
    rows = [
        (tag, rank, sets.site, n.layer, sets.basis, n.neuron, n.score, n.p_value, n.p_adjusted)
        for tag in sets
        for rank, n in enumerate(sets.tags[tag], 1)
    ]
    return Table(KEY_NEURON_COLUMNS, tuple(rows))


def aligned_key_neurons(sets: NeuronSets, max_rows: int = MAX_ROWS) -> Table:
    """The key neurons by tag and rank; the weakest of each tag are omitted from a long table."""
    most = max(map(len, sets.tags.values()), default=0)
    if sum(map(len, sets.tags.values())) > max_rows:
        most = max_rows // len(sets.tags)
        log.info("%s has the %d strongest neurons of a tag, %s all", MLFLOW_TABLES[0], most, KEY_NEURONS_TABLE)
    strongest = replace(sets, tags={tag: neurons[:most] for tag, neurons in sets.tags.items()})
    rows = [
        (f"{tag} #{rank}", sets.name(str(layer), str(neuron)), tag, rank, site, layer, basis, neuron, *numbers)
        for tag, rank, site, layer, basis, neuron, *numbers in key_neurons_table(strongest).rows
    ]
    return Table(("tag and rank", "key neuron", *KEY_NEURON_COLUMNS), tuple(rows))


def overlap_table(overlap: Overlap, max_rows: int = MAX_ROWS) -> Table:
    """The pairs of tags; those of the largest p-values are omitted from a long table."""
    tags = overlap.tags
    pairs = [(i, j) for i in range(len(tags)) for j in range(i + 1, len(tags))]
    if len(pairs) > max_rows:
        log.info("%s has the %d pairs of tags of the smallest p-values", MLFLOW_TABLES[1], max_rows)
        pairs = sorted(sorted(pairs, key=lambda pair: float(overlap.p_value[pair]))[:max_rows])
    measures = (overlap.count, overlap.expected, overlap.p_value, overlap.coefficient, overlap.jaccard)
    columns = ("tags", "shared", "expected", "p_value", "coefficient", "jaccard", "tag", "other_tag")
    rows = [
        (f"{tags[i]} + {tags[j]}", *(matrix[i, j].item() for matrix in measures), tags[i], tags[j]) for i, j in pairs
    ]
    return Table(columns, tuple(rows))


def per_tag_table(sets: NeuronSets, evidence: Evidence, labels: Labels) -> Table:
    """F1 of every tag on its own key neurons, beside random sets, and in the probe of all tags.

    The columns are named after the metrics of the run; ``probe_f1`` is ``probe/test_f1``.
    """
    own = per_tag_metrics(evidence.per_tag)
    probe: Mapping[str, float] = {}
    if evidence.key_neurons is not None:
        probe = dict(zip(labels.names, evidence.key_neurons.scores.f1.tolist(), strict=True))
    words = {split: dict(zip(labels.names, labels.counts(split).tolist(), strict=True)) for split in ("train", "test")}
    rows = [
        (
            tag,
            *(own.get(_metric(measure, tag)) for measure in PER_TAG_MEASURES),
            probe.get(tag),
            len(sets.tags.get(tag, ())),
            words["train"][tag],
            words["test"][tag],
        )
        for tag in labels.names
    ]
    return Table(("tag", *PER_TAG_MEASURES, "probe_f1", "neurons", "train_words", "test_words"), tuple(rows))


def _metric(measure: str, tag: str) -> str:
    return f"per_tag/{measure}/{tag}"
