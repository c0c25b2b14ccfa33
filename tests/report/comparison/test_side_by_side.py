"""Reports of several runs side by side: hostile names, many runs, figures of overlap matrices."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from comparing import EVIL, file
from reading_pages import Page
from rich.console import Console

from keyneurons.analysis.overlap import overlap
from keyneurons.analysis.run_differences import Predictions, run_differences
from keyneurons.analysis.shared_sets import shared_sets
from keyneurons.artifacts.key_neurons import sets_in
from keyneurons.report.comparison.overlap_figure import overlap_figure
from keyneurons.report.comparison.side_by_side import Side, SideBySide
from keyneurons.report.comparison.side_by_side_files import answers, write_side_by_side
from keyneurons.report.comparison.side_by_side_page import side_by_side_page
from keyneurons.report.comparison.side_by_side_tables import (
    accuracy_table,
    f1_table,
    pair_table,
    set_table,
    show_side_by_side,
)
from keyneurons.report.drawing import save

TAGS = ("NOUN", EVIL)


def compared(n_runs: int) -> SideBySide:
    draw, sides = np.random.default_rng(0), []
    true = np.tile([0, 1], 30)
    for run in range(n_runs):
        own = {**file(1, 2, 3 + run), "method": EVIL, "top_k": 3}
        own["tags"] = {"NOUN": own["tags"]["NOUN"], EVIL: [{"layer": 8, "neuron": 1, "score": -0.5}]}
        guess = np.where(draw.random(60) < 0.7, true, 1 - true)
        predictions = Predictions(TAGS, np.arange(60), np.repeat(np.arange(15), 4), true, guess, "t")
        metrics = {"probe/test_accuracy": 0.5, "probe/test_f1/NOUN": 0.4}
        sides.append(Side(str(run), EVIL, own, metrics, {"seed": str(run)}, (), predictions))
    sets = [sets_in(side.file)[1] for side in sides]
    pairs = {
        (a, b): run_differences(sides[a].predictions, sides[b].predictions, resamples=50)
        for a, b in combinations(range(n_runs), 2)
    }
    return SideBySide(tuple(sides), shared_sets(sets), "", tuple(sorted(TAGS)), tuple(map(overlap, sets)), pairs)


@pytest.mark.parametrize("n_runs", [2, 3, 5])
def test_all_reports_of_some_runs(n_runs: int, tmp_path: Path) -> None:
    found = compared(n_runs)
    write_side_by_side(found, tmp_path)
    save(overlap_figure(found), tmp_path / "overlap")
    page = Page(side_by_side_page(found, tmp_path / "overlap.png"))
    assert "<script>alert" not in page.html
    assert EVIL in page.told
    output = io.StringIO()
    show_side_by_side(found, Console(file=output, width=300))
    assert "shared" in output.getvalue()
    assert {path.name for path in tmp_path.iterdir()} == {
        "compare.json", "tags.csv", "neurons.csv", "overlap.csv", "overlap_differences.csv", "differences.csv",
        "overlap.png",
    }  # fmt: skip


def test_facts_name_the_basis_of_units() -> None:
    side = compared(2).sides[0]
    assert side.facts["neurons"] == "mlp, layer 8"
    units = replace(side, file={**side.file, "basis": {"name": "pca", "digest": "d"}})
    assert units.facts["neurons"] == "mlp, layer 8 in the basis pca"


def test_a_figure_has_a_matrix_per_run_and_per_pair() -> None:
    figure = overlap_figure(compared(5))
    titles = [axes.get_title().replace("\n", "") for axes in figure.axes if axes.get_visible() and axes.get_title()]
    assert titles == [
        *(f"{name}: {EVIL}, layer 8" for name in "ABCDE"),
        "B - A",
        "C - A",
        "D - A",
        "E - A",
        "C - B",
        "D - B",
    ]
    matrix = figure.axes[0].images[0].get_array()
    # the sets {1, 2, 3} and {1}
    assert np.ma.filled(matrix, np.nan) == pytest.approx(np.array([[np.nan, 1 / 3], [1 / 3, np.nan]]), nan_ok=True)


def test_tables_of_three_runs() -> None:
    found = compared(3)
    sets, pairs, accuracy, f1 = (table(found) for table in (set_table, pair_table, accuracy_table, f1_table))
    assert sets is not None
    assert pairs is not None
    assert accuracy is not None
    assert f1 is not None
    noun = next(row for row in sets.rows if row[0] == "NOUN")
    assert noun[1:8] == ("3", "3", "3", "1", "1", "1", "2")  # {1, 2, 3}, {1, 2, 4}, {1, 2, 5}
    assert [row[0] for row in pairs.rows] == ["A B", "A C", "B C"]
    assert pairs.rows[0][1] == f"{(2 / 4 + 1) / 2:.3f}"
    assert [row[0] for row in accuracy.rows] == ["B - A", "C - A", "C - B"]
    assert f1.heads == ("F1 of", "A", "B", "C", "B - A", "95 % interval", "p", "C - A", "95 % interval", "p",
                        "C - B", "95 % interval", "p")  # fmt: skip
    assert f1.rows[0][:4] == ("NOUN", "0.400", "0.400", "0.400")


def test_answers_are_second_minus_first() -> None:
    found = compared(2)
    own, contrast = answers(found)["differences"]["A B"]["accuracy"], found.differences[0, 1].accuracy
    assert own["difference"] == contrast.difference.value == pytest.approx(contrast.second - contrast.first)
