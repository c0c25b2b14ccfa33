"""Data of the interactive figures: the values of the runs, escaped text, sizes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from comparing import EVIL, asked, comparison, file, run

from keyneurons.analysis.set_agreement import SetAgreement
from keyneurons.report.comparison.charts import MOST_RUNS, page_data
from keyneurons.report.comparison.page import page
from keyneurons.report.comparison.run_table import run_rows
from keyneurons.report.comparison.saved_figures import CURVES
from keyneurons.report.comparison.tables import RunComparison
from keyneurons.report.pages import inline_json


def sweep(methods: tuple[str, ...] = ("a", "b"), seeds: tuple[str, ...] = ("0",)) -> RunComparison:
    runs = [
        run(f"{m}{k}{layer}{seed}", asked(m, k, layer, seed=seed), 0.4 + k / 100 + int(seed) / 50)
        for m in methods for k in (2, 10) for layer in (4, 8) for seed in seeds
    ]  # fmt: skip
    return comparison(
        runs, [file(i % 5, 5 + i % 3, layer=4 if each.params["layer"] == "4" else 8) for i, each in enumerate(runs)]
    )


def test_every_run_is_a_point_with_its_values_and_interval() -> None:
    found = sweep()
    data = page_data(found)
    by_id = {row.id: row for row in found.rows}
    assert set(data["charts"]) == {"overview", *(name for _, _, name in CURVES[:-1]), "consensus_0"}
    for x, metric, name in CURVES[:-1]:
        lines = [line for panel in data["charts"][name]["panels"] for line in panel["lines"]]
        assert sorted(run for line in lines for run in line["ids"]) == sorted(by_id)
        for line in lines:
            for i, run_id in enumerate(line["ids"]):
                m = by_id[run_id].metrics
                assert line["method"] == by_id[run_id].method
                assert line["x"][i] == getattr(by_id[run_id], x)
                shown = [line[key][i] for key in ("y", "low", "high")]
                assert shown == pytest.approx([m[metric], m[f"{metric}_low"], m[f"{metric}_high"]])
                band = [line["band"][key][i] for key in ("low", "high")]
                centre = 0.25 if "accuracy" in metric else 0.0
                assert band == pytest.approx([centre - 0.01, centre + 0.01])


def test_all_methods_share_the_overview() -> None:
    [panel] = page_data(sweep(("a", "b", "c")))["charts"]["overview"]["panels"]
    assert [line["method"] for line in panel["lines"]] == ["a", "b", "c"]
    assert {x for line in panel["lines"] for x in line["x"]} == {0.25}


def test_accuracy_axes_end_at_1_and_include_every_interval() -> None:
    charts = page_data(sweep())["charts"]
    low, high = charts["accuracy_by_layer"]["y"]["range"]
    assert 1 <= high < 1.02
    assert low < 0.25 - 0.01
    assert charts["advantage_by_layer"]["y"]["zero"]


def test_seeds_are_points_and_every_run_selects_its_row() -> None:
    found = sweep(("a",), ("0", "1", "2"))
    data = page_data(found)
    assert len(found.rows) == 4
    assert {data["rows"][each.id] for each in found.runs} == {row.id for row in found.rows}
    [line] = data["charts"]["accuracy_by_layer"]["panels"][0]["lines"]
    assert len(line["ids"]) == 2
    assert len(line["seeds"]["ids"]) == 6
    assert set(line["seeds"]["ids"]) == set(line["ids"])
    assert np.mean(line["seeds"]["y"][:3]) == pytest.approx(line["y"][0])


def test_heatmaps_have_the_agreement_without_the_diagonal() -> None:
    found = sweep()
    agreement = found.groups[0].agreement
    assert agreement is not None
    own = page_data(found)["heatmaps"]["agreement_0"]
    values = np.array(own["values"], dtype=float)
    assert np.isnan(np.diag(values)).all()
    apart = ~np.eye(len(values), dtype=bool)
    assert values[apart] == pytest.approx(agreement.jaccard[apart], abs=5e-4, nan_ok=True)
    assert own["most"] == np.nanmax(values)


def test_text_is_escaped_for_plotly_and_for_the_page() -> None:
    data = page_data(sweep((EVIL, "b")))
    lines = [line for chart in data["charts"].values() for panel in chart["panels"] for line in panel["lines"]]
    tips = [tip for line in lines for tip in (*line["tips"], *line["seeds"]["tips"])]
    shown = " ".join([*tips, *(label for own in data["heatmaps"].values() for label in own["labels"])])
    assert "&lt;script&gt;alert" in shown
    assert "<script" not in shown
    text = inline_json({EVIL: "</script><!--&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {EVIL: "</script><!--&\u2028"}


def of_many_runs(n: int) -> RunComparison:
    """Many runs; the agreement of their sets is random, since comparing them takes minutes."""
    rows = run_rows([run(f"{i:032x}", asked(f"method_{i % 9}", 2 + i // 18, i % 2)) for i in range(n)])
    [group] = sweep().groups
    matrix = np.random.default_rng(0).uniform(size=(n, n))
    ids = tuple(row.id for row in rows)
    agreement = SetAgreement(ids, ("NOUN",), matrix, matrix, matrix[None], matrix[None])
    sets = dict.fromkeys(ids, next(iter(group.sets.values())))
    return replace(sweep(), runs=rows, rows=rows, best=(), groups=(replace(group, sets=sets, agreement=agreement),))


def test_large_comparisons_stay_below_6_mb() -> None:
    assert 5.2e6 < len(page(of_many_runs(MOST_RUNS)).encode()) < 6e6
    assert page_data(of_many_runs(MOST_RUNS + 1))["heatmaps"] == {}
    assert "too many runs for an interactive matrix" in page(of_many_runs(MOST_RUNS + 1))
