"""Runs that differ in their seed only are one configuration; all others stay rows of their own."""

from __future__ import annotations

import csv
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from comparing import asked, comparison, file, printed, run, shown
from matplotlib.collections import PathCollection

from keyneurons.report.comparison.configurations import NOTE
from keyneurons.report.comparison.curves import curves
from keyneurons.report.comparison.note import markdown
from keyneurons.report.comparison.tables import RunComparison, write_tables
from keyneurons.report.panels import panels

ACCURACIES = {
    ("a", 2): (0.5, 0.6, 0.7),
    ("a", 4): (0.7, 0.7, 0.7),
    ("b", 2): (0.2, 0.9, 0.3),
    ("b", 4): (0.65, 0.71, 0.71),
}


def seeds() -> RunComparison:
    """Two methods, two k and three seeds; the highest accuracy of all is that of a lucky seed."""
    runs, files = [], []
    for (method, k), accuracies in ACCURACIES.items():
        for seed, accuracy in enumerate(accuracies):
            runs.append(run(f"{method}{k}{seed}", asked(method, k, seed=str(seed)), accuracy))
            files.append(file(1, 2, 3 + seed))
    return comparison(runs, files)


def test_seeds_are_replicates_and_the_best_is_so_by_mean() -> None:
    found = seeds()
    assert (len(found.runs), len(found.rows)) == (12, 4)
    assert [row.label for row in found.rows] == [f"{m}, k {k} (3 seeds)" for m in "ab" for k in (2, 4)]
    for row, accuracies in zip(found.rows, ACCURACIES.values(), strict=True):
        assert row.metrics["probe/test_accuracy"] == pytest.approx(np.mean(accuracies))
        assert [one.metrics["probe/test_accuracy"] for one in row.runs] == list(accuracies)
        assert "seed" not in row.factors
    best = next(best for best in found.best if best.question == "accuracy")
    assert found.row(best.run).label == "a, k 4 (3 seeds)"
    assert (best.value, best.of, best.ties) == (pytest.approx(0.7), 4, ())


def test_p_values_are_adjusted_over_configurations() -> None:
    found = seeds()
    assert all(row.metrics["verdict/special_p_value"] == pytest.approx(0.045) for row in found.rows)  # 3 / 2 * 0.03
    assert all(row.metrics["comparison/special_p_adjusted"] == pytest.approx(0.045) for row in found.rows)
    assert "4 of 4 configurations" in printed(found)


def test_sets_agree_over_seeds_beside_chance() -> None:
    row = seeds().rows[0]
    sets = [{1, 2, 3 + seed} for seed in range(3)]
    shared = [len(a & b) / len(a | b) for a, b in combinations(sets, 2)]
    assert row.metrics["comparison/seed_jaccard"] == pytest.approx(np.mean(shared))
    draw = np.random.default_rng(0)
    chance = []
    for _ in range(20000):
        a, b = (set(draw.choice(32, 3, replace=False).tolist()) for _ in range(2))
        chance.append(len(a & b) / len(a | b))
    assert row.metrics["comparison/seed_expected_jaccard"] == pytest.approx(np.mean(chance), abs=0.003)


def test_curves_are_of_means_with_intervals() -> None:
    [panel] = panels(seeds().rows, "top_k", "probe/test_accuracy")
    assert {method: [row.top_k for row in own] for method, own in panel.lines.items()} == {"a": [2, 4], "b": [2, 4]}
    [axes] = curves([panel], "top_k", "probe/test_accuracy").axes
    _, b = [bars for bars in axes.containers if bars.get_label() in "ab"]
    assert b.lines[0].get_ydata() == pytest.approx([np.mean(ACCURACIES["b", k]) for k in (2, 4)])
    dots = [each for each in axes.collections if isinstance(each, PathCollection)]
    assert {tuple(point) for each in dots for point in each.get_offsets().tolist()} == {
        (k, accuracy) for (_, k), accuracies in ACCURACIES.items() for accuracy in accuracies
    }


def test_tables_have_a_row_per_run_and_one_per_configuration(tmp_path: Path) -> None:
    found = seeds()
    write_tables(found, tmp_path)

    def rows(name: str) -> list[dict[str, str]]:
        with (tmp_path / name).open(encoding="utf-8") as opened:
            return list(csv.DictReader(opened))

    assert len(rows("runs.csv")) == 12
    first = rows("configurations.csv")[0]
    assert first["runs"] == "a20 a21 a22"
    assert float(first["probe/test_accuracy"]) == pytest.approx(0.6)
    assert (float(first["probe/test_accuracy_min"]), float(first["probe/test_accuracy_max"])) == (0.5, 0.7)
    written = json.loads((tmp_path / "comparison.json").read_text("utf-8"))
    assert [each["runs"] for each in written["configurations"]][0] == ["a20", "a21", "a22"]
    assert written["runs"] == 12
    best = written["best"][0]
    assert len(best["runs"]) == 3
    assert best["test_accuracy"] == best["value"]


def test_console_description_and_page_say_so(tmp_path: Path) -> None:
    found = seeds()
    assert NOTE in printed(found)
    assert "seeds agree" in printed(found)
    assert NOTE in markdown(found)
    told = " ".join(shown(found).told.split())
    assert "stands for the runs that differ in their seed only" in told
    assert "Small points are single seeds" in told
    assert "No values are averaged" not in told


def test_one_seed_each_changes_nothing() -> None:
    runs = [run(f"{m}{k}", asked(m, k, seed=str(k)), 0.5) for m in "ab" for k in (2, 4)]
    found = comparison(runs, [file(1)] * 4)
    assert found.rows == found.runs
    assert NOTE not in printed(found)


def test_a_seed_that_occurs_twice_is_no_replicate() -> None:
    runs = [run(str(i), asked("a", 2, seed=str(i % 2))) for i in range(4)]
    found = comparison(runs, [file(1)] * 4)
    assert [row.label for row in found.rows] == ["2 seeds #1", "2 seeds #2"]
    assert [[one.id for one in row.runs] for row in found.rows] == [["0", "1"], ["2", "3"]]


def test_a_configuration_of_a_single_seed_among_others() -> None:
    runs = [run(f"a{s}", asked("a", 2, seed=s), 0.5 + int(s) / 10) for s in "01"] + [run("b", asked("b", 2, seed="0"))]
    found = comparison(runs, [file(1)] * 3)
    assert [row.label for row in found.rows] == ["a (2 seeds)", "b (1 seed)"]
    assert found.rows[1].metrics["probe/test_accuracy_low"] == 0.48  # its own interval, over sentences
