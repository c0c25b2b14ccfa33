"""The page on runs: hostile names, no network, the runs' numbers, panels without averages."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from reading_pages import Page

from keyneurons.analysis.best_runs import best_runs
from keyneurons.artifacts.key_neurons import read_key_neurons, sets_in
from keyneurons.artifacts.run_sets import explain_groups, group_sets, write_consensus
from keyneurons.report.comparison.page import by_chance, page
from keyneurons.report.comparison.run_table import FinishedRun, differing_params, run_rows
from keyneurons.report.comparison.tables import RunComparison, draw, mean_agreement, write_tables
from keyneurons.report.panels import panels

EVIL = "<script>alert('x')</script>"


def run(name: str, params: dict[str, str], accuracy: float = 0.5, **more: float) -> FinishedRun:
    metrics = {
        "probe/test_accuracy": accuracy,
        "probe/dev_accuracy": accuracy - 0.01,
        "probe/advantage": accuracy - 0.25,
        "probe/selectivity": accuracy - 1 / 3,
        "control/random/test_accuracy": 0.25,
        "control/random/test_accuracy_std": 0.01,
        "control/random/p_value": 0.04,
        "selection/union_fraction": 0.1,
        "selection/union_size": 12.0,
        "overlap/mean_jaccard": 0.05,
    }
    return FinishedRun(name, name, params, {**metrics, **more}, {"layer": params.get("layer", "8")})


def asked(method: str, k: int, layer: int = 8, **more: str) -> dict[str, str]:
    own = {"choice.selection": method, "selection._target_": f"keyneurons.{method}", "top_k": str(k)}
    return {**own, "layer": str(layer), "tracking.uri": "x", "site": "mlp", **more}


def file(*neurons: int, site: str = "mlp", tag: str = "NOUN", layer: int = 8, **model: Any) -> dict[str, Any]:
    bound = {"id": "toy", "revision": "r", "tokenizer": "t", "random_weights": None, **model}
    own = [{"layer": layer, "neuron": n, "score": 0.5} for n in neurons]
    return {
        "format": 1,
        "model": bound,
        "dataset": {"id": "d", "digest": "0"},
        "tag_column": "upos",
        "site": site,
        "layers": [layer],
        "neurons_per_layer": 32,
        "read_at": "word",
        "tags": {tag: own},
    }


def comparison(runs: list[FinishedRun], files: list[dict[str, Any]], **left_out: tuple[str, ...]) -> RunComparison:
    rows = run_rows(runs)
    by_run = {one.id: own for one, own in zip(runs, files, strict=True)}
    ordered = {row.id: by_run[row.id] for row in rows}
    groups = group_sets(ordered, None)
    best = best_runs({row.id: row.metrics for row in rows})
    return RunComparison(
        f"{len(rows)} runs", {"sweep": EVIL}, rows, best, groups, explain_groups(groups), left_out, None, ordered
    )


def four() -> RunComparison:
    runs = [
        run(f"{method}{k}", asked(method, k), 0.3 + 0.1 * k + place / 100)
        for place, method in enumerate(("correlation", "random"))
        for k in (2, 4)
    ]
    return comparison(runs, [file(1, 2), file(1, 2, 3, 4), file(9, 8), file(9, 8, 7, 1)])


def shown(found: RunComparison, folder: Path) -> Page:
    return Page(page(found, draw(found, folder)))


def test_text_from_outside_is_escaped(tmp_path: Path) -> None:
    runs = [run(f"{EVIL}{k}", asked(EVIL, k, **{"dataset.id": f"{EVIL}{k}"})) for k in (2, 4)]
    files = [file(1, tag=EVIL, id=EVIL), file(1, 2, tag=EVIL, id=EVIL)]
    found = comparison(runs, files, **{EVIL: (EVIL,)})
    told = shown(found, tmp_path)
    assert "<script>alert" not in told.html
    assert told.html.count("<script") == 1
    assert EVIL in told.told


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    told = shown(four(), tmp_path)
    assert not re.findall(r"(?:https?:)?//[\w.]", re.sub(r"base64,[^\"]+", "", told.html).replace("// ", ""))
    sources = [given["src"] for tag, given in told.elements if tag == "img"]
    assert len(sources) == 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(given["alt"] for tag, given in told.elements if tag == "img")
    ids = {given["id"] for _, given in told.elements if "id" in given}
    links = {given["href"] for tag, given in told.elements if tag == "a"}
    assert {link.removeprefix("#") for link in links} <= ids


def test_numbers_are_those_of_the_runs(tmp_path: Path) -> None:
    found = four()
    write_tables(found, tmp_path)
    with (tmp_path / "runs.csv").open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["run"] for row in rows] == ["correlation2", "correlation4", "random2", "random4"]
    for row, kept in zip(rows, found.rows, strict=True):
        for name, value in kept.metrics.items():
            assert float(row[name]) == value
    [group] = json.loads((tmp_path / "comparison.json").read_text("utf-8"))["groups"]
    with (tmp_path / "agreement.csv").open(encoding="utf-8") as opened:
        means = [float(row["jaccard"]) for row in csv.DictReader(opened) if row["tag"] == "mean of tags"]
    assert means == pytest.approx([2 / 4, 0, 1 / 5, 0, 1 / 7, 2 / 4])
    assert group["mean_jaccard"] == pytest.approx(sum(means) / 6)
    assert mean_agreement(found.groups[0]) == pytest.approx((sum(means) / 6, group["mean_expected_jaccard"], 6))


def test_the_consensus_is_a_file_of_key_neurons(tmp_path: Path) -> None:
    runs = [run(str(i), asked("correlation", i)) for i in range(3)]
    found = comparison(runs, [file(1, 2), file(1, 3), file(1, 2)])
    write_tables(found, tmp_path)
    bound, sets = sets_in(read_key_neurons(tmp_path / "consensus" / "key_neurons.json"))
    assert bound == found.groups[0].bound
    assert [(n.neuron, n.score) for n in sets.tags["NOUN"]] == [(1, 1.0), (2, pytest.approx(2 / 3))]


def test_groups_have_their_own_files_and_are_named(tmp_path: Path) -> None:
    runs = [run(str(i), asked("correlation", i, site="mlp" if i < 2 else "residual")) for i in range(5)]
    files = [file(1), file(1), file(1, site="residual"), file(1, site="residual"), file(1, random_weights=0)]
    found = comparison(runs, files)
    write_tables(found, tmp_path)
    assert sorted(path.parent.name for path in tmp_path.glob("consensus/*/key_neurons.json")) == [
        "toy_mlp",
        "toy_residual",
    ]
    assert found.not_compared is not None
    assert "different random_weights and site" in found.not_compared
    assert "They differ in random_weights (None, 0)" in found.not_compared
    assert "keyneurons compare \"filter=params.`model.random_weights` = 'null'\"" in found.not_compared
    told = shown(found, tmp_path / "figures").told
    assert found.not_compared in " ".join(told.split())
    assert "is the only run on toy with permuted weights (seed 0), mlp" in " ".join(told.split())
    with pytest.raises(ValueError, match="at least 2 runs, got 1"):
        write_consensus(tmp_path / "alone.json", found.groups[-1], found.files, None)


def test_runs_without_a_layer_in_common(tmp_path: Path) -> None:
    runs = [run(str(layer), asked("correlation", 2, layer)) for layer in (8, 9)]
    found = comparison(runs, [file(1), file(1, layer=9)])
    told = " ".join(shown(found, tmp_path).told.split())
    assert "No two of these runs have a layer in common." in told
    assert "Grey: the runs have no layer in common." in told


def test_a_run_without_key_neurons_is_a_row(tmp_path: Path) -> None:
    bare = FinishedRun("bare", "bare", asked("random", 2), {}, {"layer": "8"})
    found = comparison([bare, run("one", asked("correlation", 2))], [file(), file(1)])
    write_tables(found, tmp_path)
    assert "bare" in shown(found, tmp_path).html


class TestParams:
    def test_what_follows_from_the_option_is_left_out(self) -> None:
        params = [asked("correlation", 2), asked("random", 2), asked("random", 4)]
        assert differing_params(params) == ("choice.selection", "top_k")

    def test_an_argument_that_differs_for_one_option_stays(self) -> None:
        params = [asked("l1", 2, **{"selection.c": "1"}), asked("l1", 2, **{"selection.c": "2"}), asked("random", 2)]
        assert differing_params(params) == ("choice.selection", "selection.c")

    def test_labels_tell_runs_apart_by_as_little_as_needed(self) -> None:
        runs = [
            run("a", asked("correlation", 2, seed="0", alpha="0.1")),
            run("b", asked("correlation", 2, seed="1", alpha="0.1")),
            run("c", asked("random", 2, seed="0", alpha="0.2")),
        ]
        assert [row.label for row in run_rows(runs)] == ["correlation, seed 0", "correlation, seed 1", "random, seed 0"]

    def test_labels_say_trained_or_the_seed_of_the_permuted_weights(self) -> None:
        runs = [run("a", asked("l1", 2, **{"model.random_weights": seed})) for seed in ("null", "0", "12")]
        assert {row.label for row in run_rows(runs)} == {
            "trained weights",
            "permuted weights (seed 0)",
            "permuted weights (seed 12)",
        }

    def test_runs_that_were_asked_the_same_are_numbered(self) -> None:
        assert [row.label for row in run_rows([run("n", asked("l1", 2)), run("n", asked("l1", 2))])] == ["n #1", "n #2"]


class TestPanels:
    def test_what_differs_besides_has_a_panel_of_its_own(self) -> None:
        runs = [
            run(f"{m}{k}{layer}{s}", asked(m, k, layer, seed=s))
            for m in ("a", "b") for k in (10, 2) for layer in (9, 16) for s in ("0", "1")
        ]  # fmt: skip
        found = panels(run_rows(runs), "top_k", "probe/test_accuracy")
        assert [panel.title for panel in found] == [
            "layer 9, seed 0", "layer 9, seed 1", "layer 16, seed 0", "layer 16, seed 1",
        ]  # fmt: skip
        for panel in found:
            assert [[row.top_k for row in own] for own in panel.lines.values()] == [[2, 10], [2, 10]]
        assert len(panels(run_rows(runs), "layer", "probe/test_accuracy")) == 4

    def test_what_goes_with_the_method_is_named(self) -> None:
        runs = [run(f"{m}{k}", asked(m, k, alpha=a)) for m, a in (("a", ".1"), ("b", ".2")) for k in (2, 4)]
        [panel] = panels(run_rows(runs), "top_k", "probe/test_accuracy")
        assert (panel.title, panel.mixed) == ("", ("alpha",))

    def test_one_value_is_no_curve(self) -> None:
        runs = [run("a", asked("a", 2)), run("b", asked("b", 2)), run("c", asked("b", 4, 9))]
        assert panels(run_rows(runs), "top_k", "probe/test_accuracy") == ()
        assert panels(run_rows(runs), "layer", "probe/test_accuracy") == ()


def test_small_expectations_are_not_written_out() -> None:
    assert [by_chance(value) for value in (0.0, 1e-9, 0.5, 1234.5)] == ["0.00", "< 0.01", "0.50", "1234"]
