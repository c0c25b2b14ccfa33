"""The page on runs: hostile names, no network, the runs' numbers, panels without averages."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from comparing import EVIL, asked, comparison, file, printed, run, shown

from keyneurons.artifacts.key_neurons import read_key_neurons, sets_in
from keyneurons.artifacts.run_sets import write_consensus
from keyneurons.report.comparison.columns import COLUMNS
from keyneurons.report.comparison.curves import curves
from keyneurons.report.comparison.factors import differing_params
from keyneurons.report.comparison.note import markdown
from keyneurons.report.comparison.page import by_chance
from keyneurons.report.comparison.run_table import FinishedRun, run_rows
from keyneurons.report.comparison.set_tables import mean_agreement
from keyneurons.report.comparison.significance import significance_sentence, significances
from keyneurons.report.comparison.tables import RunComparison, write_tables
from keyneurons.report.panels import panels


def four() -> RunComparison:
    runs = [
        run(f"{method}{k}", asked(method, k), 0.3 + 0.1 * k + place / 100)
        for place, method in enumerate(("correlation", "random"))
        for k in (2, 4)
    ]
    return comparison(runs, [file(1, 2), file(1, 2, 3, 4), file(9, 8), file(9, 8, 7, 1)])


def with_one_ranking() -> RunComparison:
    """Two ranked runs, of which one is worth more than all neurons, and one that is not ranked."""
    runs = [
        run("a", asked("correlation", 2), 0.8, **{"worth/neurons": 32.0, "worth/reached": 0.0}),
        run("b", asked("correlation", 4), 0.7, **{"verdict/special_p_value": 0.06, "verdict/special": 0.0}),
        run("c", asked("linear_weights", 2), 0.9, **{"selection/one_ranking": 1.0, "verdict/special_p_value": 0.001}),
    ]
    return comparison(runs, [file(1, 2), file(1, 2, 3, 4), file(5)])


def test_text_from_outside_is_escaped(tmp_path: Path) -> None:
    runs = [run(f"{EVIL}{k}", asked(EVIL, k, **{"dataset.id": f"{EVIL}{k}"})) for k in (2, 4)]
    files = [file(1, tag=EVIL, id=EVIL), file(1, 2, tag=EVIL, id=EVIL)]
    found = comparison(runs, files, **{EVIL: (EVIL,)})
    told = shown(found)
    assert "<script>alert" not in told.html
    assert told.html.count("<script") == 4  # data, page.js, Plotly, charts.js
    assert EVIL in told.told


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    told = shown(four())
    outside = re.sub(r"<script>.*?</script>", "", told.html, flags=re.DOTALL)
    assert not re.findall(r"(?:https?:)?//[\w.]", outside)
    assert not [given for _, given in told.elements if "src" in given]
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in told.scripts[1:]}
    assert set(told.policy["script-src"].split()) == {f"'sha256-{digest}'" for digest in digests}
    assert (told.policy["default-src"], len(told.html.encode()) < 6e6) == ("'none'", True)
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
    assert bound.lineage == found.groups[0].lineage
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
    told = shown(found).told
    assert found.not_compared in " ".join(told.split())
    assert "is the only run on toy with permuted weights (seed 0), mlp" in " ".join(told.split())
    with pytest.raises(ValueError, match="at least 2 runs, got 1"):
        write_consensus(tmp_path / "alone.json", found.groups[-1], found.files, None)


def test_runs_without_a_layer_in_common(tmp_path: Path) -> None:
    runs = [run(str(layer), asked("correlation", 2, layer)) for layer in (8, 9)]
    found = comparison(runs, [file(1), file(1, layer=9)])
    told = " ".join(shown(found).told.split())
    assert "No two of these runs have a layer in common." in told
    assert "Grey off the diagonal: the runs have no layer in common." in told


def test_a_run_without_key_neurons_is_a_row(tmp_path: Path) -> None:
    bare = FinishedRun("bare", "bare", asked("random", 2), {}, {"layer": "8"})
    found = comparison([bare, run("one", asked("correlation", 2))], [file(), file(1)])
    write_tables(found, tmp_path)
    assert "bare" in shown(found).html


class TestParams:
    def test_what_follows_from_the_option_is_left_out(self) -> None:
        params = [asked("correlation", 2), asked("random", 2), asked("random", 4)]
        assert differing_params(params, [()] * 3) == ("choice.selection", "top_k")

    def test_an_argument_that_differs_for_one_option_stays(self) -> None:
        params = [asked("l1", 2, **{"selection.c": "1"}), asked("l1", 2, **{"selection.c": "2"}), asked("random", 2)]
        assert differing_params(params, [()] * 3) == ("choice.selection", "selection.c")

    def test_a_value_that_follows_from_another_param_is_no_difference(self) -> None:
        params = [asked("l1", k, **{"selection.n": str(k)}) for k in (2, 4)] + [asked("random", 2)]
        assert differing_params(params, [("selection.n",)] * 2 + [()]) == ("choice.selection", "top_k")
        assert differing_params(params, [("selection",), ("selection.n",), ()]) == ("choice.selection", "top_k")
        # set by hand in one run, or no record
        assert "selection.n" in differing_params(params, [("selection.n",), (), ()])

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

    def test_methods_share_a_panel_although_an_argument_follows_from_k(self) -> None:
        arguments = {"correlation": {}, "l1_probe": {"selection.n_nonzero": "{k}"}}
        runs = [
            replace(
                run(f"{m}{k}", asked(m, k, **{name: value.format(k=k) for name, value in own.items()})),
                tags={"layer": "8", "derived": ",".join(own)},
            )
            for m, own in arguments.items()
            for k in (2, 4)
        ]
        [panel] = panels(run_rows(runs), "top_k", "probe/test_accuracy")
        assert set(panel.lines) == {"correlation", "l1_probe"}
        apart = panels(run_rows([replace(one, tags={"layer": "8"}) for one in runs]), "top_k", "probe/test_accuracy")
        assert [set(panel.lines) for panel in apart] == [{"correlation"}]  # the fault without the record

    def test_one_value_is_no_curve(self) -> None:
        runs = [run("a", asked("a", 2)), run("b", asked("b", 2)), run("c", asked("b", 4, 9))]
        assert panels(run_rows(runs), "top_k", "probe/test_accuracy") == ()
        assert panels(run_rows(runs), "layer", "probe/test_accuracy") == ()


def test_small_expectations_are_not_written_out() -> None:
    assert [by_chance(value) for value in (0.0, 1e-9, 0.5, 1234.5)] == ["0.00", "< 0.01", "0.50", "1234"]


class TestVerdicts:
    def test_significant_runs_are_counted_after_correction(self) -> None:
        found = with_one_ranking()
        assert [str(each) for each in significances(found.rows)] == [
            "special (better than as many random neurons): 2 of 3 runs",
            "beyond the word form: 0 of 3 runs",
        ]
        adjusted = [row.metrics["comparison/special_p_adjusted"] for row in found.rows]
        assert adjusted == pytest.approx([0.045, 0.06, 0.003])
        assert significance_sentence(run_rows([FinishedRun("bare", "bare", asked("l1", 2), {}, {})])) == ""

    def test_they_are_on_the_page_and_in_the_files(self, tmp_path: Path) -> None:
        found = with_one_ranking()
        told = " ".join(shown(found).told.split())
        assert "special (better than as many random neurons): 2 of 3 runs" in told
        assert "further selection, which this correction does not cover" in told
        write_tables(found, tmp_path)
        verdicts = json.loads((tmp_path / "comparison.json").read_text("utf-8"))["verdicts"]
        assert [(each["question"], each["tested"], each["significant"]) for each in verdicts] == [
            ("verdict/special", 3, 2),
            ("verdict/beyond_form", 3, 0),
        ]
        assert verdicts[0]["p_adjusted"] == pytest.approx({"a": 0.045, "b": 0.06, "c": 0.003})
        assert "special (better than as many random neurons): 2 of 3 runs" in markdown(found)

    def test_one_ranking_for_all_tags_is_marked_and_not_best(self, tmp_path: Path) -> None:
        found = with_one_ranking()
        assert [row.label for row in found.rows] == ["correlation, k 2", "correlation, k 4", "linear_weights, k 2 *"]
        assert {best.run for best in found.best} == {"a"}
        told = " ".join(shown(found).told.split())
        assert "not ranked: one ranking for all tags" in told
        assert "linear_weights *" in printed(found)
        assert "* One ranking for all tags: such methods are not ranked." in printed(found)
        assert "One ranking for all tags: such methods are not ranked." in markdown(found)
        write_tables(found, tmp_path)
        assert json.loads((tmp_path / "comparison.json").read_text("utf-8"))["not_ranked"] == ["c"]

    def test_a_sweep_without_special_runs_says_so(self) -> None:
        found = comparison([run("a", asked("l1", 2), **{"verdict/special": 0.0})], [file(1)])
        assert "No run is shown to be better than as many random neurons, so all runs are ranked." in printed(found)


class TestCells:
    COLUMNS = {column.head: column for column in COLUMNS}

    def test_values_have_their_intervals(self) -> None:
        m = run("a", {}, 0.8).metrics
        assert self.COLUMNS["accuracy"].with_interval(m) == "0.800 (0.780 to 0.830)"
        assert self.COLUMNS["advantage"].with_interval(m) == "+0.550 (0.530 to 0.580)"
        assert self.COLUMNS["random sets"].with_interval(m) == "0.250"
        assert [self.COLUMNS[head].cell(m) for head in ("special", "form", "grammar")] == ["1", "no", "-"]

    def test_a_worth_of_more_than_all_neurons(self) -> None:
        m = dict(run("a", {}, 0.8).metrics)
        assert self.COLUMNS["worth"].with_interval(m) == "20 (14 to > 32)"
        assert self.COLUMNS["worth"].cell({**m, "worth/reached": 0.0, "worth/neurons": 32.0}) == "> 32"
        gained = {"comparison/worth_minus_union": 20.0, "worth/reached": 0.0}
        assert self.COLUMNS["worth - union"].cell(gained) == "> +20"


def test_accuracy_over_the_size_of_the_union_shows_every_run_and_the_label_free_sets() -> None:
    runs = [
        run(f"{method}{k}{layer}", asked(method, k, layer), 0.5, **{"selection/union_size": 8.0 * k})
        for method in ("a", "b") for k in (1, 2) for layer in (4, 9)
    ]  # fmt: skip
    found = panels(run_rows(runs), "union_size", "probe/test_accuracy")
    assert [panel.title for panel in found] == ["layer 4", "layer 9"]
    figure = curves(found, "union_size", "probe/test_accuracy")
    for axes in figure.axes:
        assert axes.get_xscale() == "log"
        lines = {str(line.get_label()): line.get_xydata() for line in axes.get_lines()}
        assert lines["as many random neurons"] == pytest.approx(np.array([[8, 0.18], [16, 0.26], [32, 0.42]]))
        [first, *_] = axes.containers
        assert first.lines[0].get_xydata() == pytest.approx(np.array([[8, 0.5], [16, 0.5]]))
        [bars] = first.lines[2]
        assert [segment[:, 1].tolist() for segment in bars.get_segments()] == pytest.approx(
            np.array([[0.48, 0.53], [0.48, 0.53]])
        )
