"""Tables of a run: every neuron, pair and tag once, aligned over runs, names as text."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from predicting import evidence, right

from keyneurons.analysis.overlap import overlap
from keyneurons.analysis.sentence_bootstrap import Difference
from keyneurons.artifacts.run_tables import (
    MLFLOW_TABLES,
    aligned_key_neurons,
    key_neurons_table,
    mlflow_tables,
    overlap_table,
    per_tag_table,
    write_run_tables,
)
from keyneurons.pipeline.per_tag import TagProbe
from keyneurons.records import SPLITS, KeyNeuron, LabelledWords, Labels, NeuronSets

SETS = NeuronSets(
    "mlp",
    (1, 3),
    48,
    {
        "1": (KeyNeuron(3, 5, -0.75, 0.001, 0.004), KeyNeuron(1, 1, 0.5)),
        "NA": (KeyNeuron(3, 5, 0.6, 0.0, 0.0),),
        "null": (),
    },
)


def words(tags: list[int]) -> LabelledWords:
    return LabelledWords(np.arange(len(tags)), np.array(tags), tuple("w" for _ in tags))


LABELS = Labels("upos", ("1", "NA"), dict.fromkeys(SPLITS, words([0, 0, 1])))


def test_key_neurons_have_one_row_each() -> None:
    table = key_neurons_table(SETS)
    assert table.columns == ("tag", "rank", "site", "layer", "basis", "neuron", "score", "p_value", "p_adjusted")
    assert table.rows == (
        ("1", 1, "mlp", 3, "neurons", 5, -0.75, 0.001, 0.004),
        ("1", 2, "mlp", 1, "neurons", 1, 0.5, None, None),
        ("NA", 1, "mlp", 3, "neurons", 5, 0.6, 0.0, 0.0),
    )
    assert {row[4] for row in key_neurons_table(replace(SETS, basis="sae")).rows} == {"sae"}


def test_rows_of_two_runs_are_aligned_by_tag_and_rank() -> None:
    table = aligned_key_neurons(SETS)
    assert [row[:2] for row in table.rows] == [("1 #1", "mlp.3.5"), ("1 #2", "mlp.1.1"), ("NA #1", "mlp.3.5")]
    assert [row[2:] for row in table.rows] == [row for row in key_neurons_table(SETS).rows]


def test_a_long_table_has_equally_many_ranks_of_every_tag() -> None:
    many = {tag: tuple(KeyNeuron(1, i, 1 / (i + 1)) for i in range(n)) for tag, n in (("A", 40), ("B", 30), ("C", 2))}
    sets = replace(SETS, tags=many)
    assert len(aligned_key_neurons(sets, 72).rows) == 72
    rows = aligned_key_neurons(sets, 50).rows
    assert [sum(row[2] == tag for row in rows) for tag in many] == [16, 16, 2]
    assert max(int(str(row[3])) for row in rows) == 16


def test_pairs_of_tags_have_the_numbers_of_the_matrices() -> None:
    shared = overlap(SETS)
    table = overlap_table(shared)
    assert [row[0] for row in table.rows] == ["1 + NA", "1 + null", "NA + null"]
    # one of 48 neurons of layer 3 in either set: they share it with probability 1/48
    assert table.rows[0][1:6] == (1, pytest.approx(1 / 48), pytest.approx(1 / 48), 1.0, 0.5)
    assert table.rows[0][6:] == ("1", "NA")
    assert table.rows[1][1:4] == (0, 0.0, 1.0)
    assert [row[0] for row in overlap_table(shared, 1).rows] == ["1 + NA"]


def test_tags_have_their_f1_beside_controls() -> None:
    own = evidence(right(0.9, 1, 0)[0], {})
    probes = {"NA": TagProbe(0.8, np.array([0.1, 0.3]), Difference(0.6, 0.5, 0.7, 0.17))}
    table = per_tag_table(SETS, replace(own, names=LABELS.names, per_tag=probes), LABELS)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert rows[0] == {**dict.fromkeys(table.columns), "tag": "1", "probe_f1": 0.0} | {
        "neurons": 2,
        "train_words": 2,
        "test_words": 2,
    }
    assert rows[1] == {
        "tag": "NA",
        "f1": 0.8,
        "random_f1": pytest.approx(0.2),
        "difference": 0.6,
        "difference_low": 0.5,
        "difference_high": 0.7,
        "p_value": 0.17,
        "p_adjusted": 0.17,
        "probe_f1": 0.0,
        "neurons": 1,
        "train_words": 1,
        "test_words": 1,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own = replace(evidence(right(0.9, 1, 0)[0], {}), names=LABELS.names)
    write_run_tables(tmp_path, SETS, overlap(SETS), own, LABELS)
    return tmp_path


def test_names_are_text_and_numbers_are_numbers_in_the_files(folder: Path) -> None:
    plain = json.loads((folder / "tables" / "key_neurons.json").read_text("utf-8"))
    assert plain["data"][1] == ["1 #2", "mlp.1.1", "1", 2, "mlp", 1, "neurons", 1, 0.5, None, None]
    pairs = json.loads((folder / "tables" / "overlap.json").read_text("utf-8"))
    assert pairs["data"][2][1:6] == [0, 0.0, 1.0, None, 0.0]  # an empty set has no coefficient
    with (folder / "key_neurons.csv").open(encoding="utf-8", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["tag", "1", "1", "NA"]
    with (folder / "per_tag.csv").open(encoding="utf-8", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["tag", "1", "NA"]


def test_mlflow_reads_the_tables(folder: Path) -> None:
    from pandas import read_json

    for name in mlflow_tables(folder):
        plain = json.loads((folder / name).read_text("utf-8"))
        assert list(read_json(folder / name, orient="split").columns) == plain["columns"]  # as MLflow's client does


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"columns": [], "data": []}',
        '{"columns": ["a"], "data": [[1, 2]]}',
        '{"columns": ["a"], "data": [[{}]]}',
    ],
    ids=["empty", "list", "no columns", "ragged", "nested"],
)
def test_a_damaged_table_is_refused(folder: Path, content: str) -> None:
    assert mlflow_tables(folder) == list(MLFLOW_TABLES)
    (folder / MLFLOW_TABLES[1]).write_text(content)
    with pytest.raises(ValueError, match=r"tables/overlap\.json"):
        mlflow_tables(folder)
    (folder / MLFLOW_TABLES[1]).unlink()
    assert mlflow_tables(folder) == [MLFLOW_TABLES[0], MLFLOW_TABLES[2]]
