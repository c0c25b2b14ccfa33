"""Runs of several models by relative depth: peaks, table, page."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from comparing import asked, comparison, file, printed, run, shown

from keyneurons.report.comparison.depth_figures import depth_figure, depth_tags_figure
from keyneurons.report.comparison.tables import write_tables

F1 = {"small": [0.2, 0.6, 0.4], "large": [0.1, 0.3, 0.9]}


def models(*names: str) -> tuple[list, list]:
    """Runs on three layers of each model; the small one has 4 layers, the large one 8."""
    runs, files = [], []
    for name in names:
        layers = {"small": (0, 1, 3), "large": (0, 2, 6)}[name]
        for layer, f1 in zip(layers, F1[name], strict=True):
            params = asked("correlation", 2, layer, **{"choice.model": name, "model.id": f"org/{name}"})
            more: dict[str, Any] = {"probe/test_f1/NOUN": f1, "per_tag/difference/NOUN": f1 - 0.1}
            more |= {"per_tag/difference_low/NOUN": 0.25, "probe/specificity": -f1}
            runs.append(run(f"{name}{layer}", params, f1, **more))
            architecture = f"llama num_hidden_layers={4 if name == 'small' else 8}"
            files.append(file(1, 2, layer=layer, id=f"org/{name}", architecture=architecture))
    return runs, files


def test_peaks_by_relative_depth(tmp_path: Path) -> None:
    found = comparison(*models("small", "large"))
    small, large = sorted(found.depths, key=lambda each: each.n_layers)
    assert (small.title, large.title) == ("org/small, mlp", "org/large, mlp")
    assert small.depths == large.depths == (0, 0.25, 0.75)
    assert small.tags == ("NOUN",)
    accuracy = [each.peak("probe/test_accuracy", "probe/test_accuracy_low") for each in (small, large)]
    assert [(best.depth, best.value) for best in accuracy if best is not None] == [(0.25, 0.6), (0.75, 0.9)]
    told = printed(found)
    assert "accuracy peaks at " in told
    assert "0.25 (layer 1 of 4) in org/small, mlp" in told
    assert "0.75 (layer 6 of 8) in org/large, mlp" in told
    own = small.peak("per_tag/difference/NOUN", "per_tag/difference_low/NOUN")
    assert own is not None
    assert small.place(own) == "0.25 (layer 1 of 4, 0.25 to 0.75)"  # .3 at the deepest reaches the lower end, .25
    write_tables(found, tmp_path)
    with (tmp_path / "depth.csv").open() as text:
        rows = [row for row in csv.DictReader(text) if row["measure"] == "per_tag/difference"]
    assert [float(row["value"]) for row in rows if row["models"] == small.title] == [f1 - 0.1 for f1 in F1["small"]]
    assert {row["low"] for row in rows} == {"0.25"}


def test_the_page_has_a_column_for_every_model() -> None:
    page = shown(comparison(*models("small", "large")))
    assert "Across models, by relative depth" in page.told
    assert "0.900 at 0.75 (layer 6 of 8)" in " ".join(page.told.split())


def test_figures_have_a_line_and_maps_for_every_model() -> None:
    found = comparison(*models("small", "large")).depths
    curves = depth_figure(found)
    assert [axes.get_ylabel() for axes in curves.axes if axes.get_visible()][:2] == [
        "accuracy",
        "advantage over random sets",
    ]
    assert len(depth_tags_figure(found).axes) == 4


def test_one_model_has_no_such_section() -> None:
    found = comparison(*models("small"))
    assert found.depths == ()
    assert "relative depth" not in shown(found).told + printed(found)
