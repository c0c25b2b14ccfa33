"""The page of a comparison in a browser: figures are drawn, a click selects a run everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report" / "comparison"))

from comparing import EVIL, asked, comparison, file, run
from playwright.sync_api import Browser
from six_runs import Sweep

from keyneurons.report.comparison.page import page as report_page

RINGS = "[...drawn].filter(place => place.dataset.chart).map(place => place.data.at(-1).x.length)"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    methods = ("correlation", "l1_probe", EVIL)
    runs = [run(f"{m}-{k}", asked(m, k), 0.5 + k / 100 + i / 30) for i, m in enumerate(methods) for k in (2, 10)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_page(comparison(runs, [file(i, i + 1, 9) for i in range(len(runs))])), "utf-8")
    return path


@pytest.fixture(scope="module", params=[(1280, "light"), (400, "dark")], ids=["desktop-light", "phone-dark"])
def tab(request: pytest.FixtureRequest, browser: Browser, report: Path) -> Iterator[Any]:
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda sent: wrong.append(sent.url) if not sent.url.startswith(("file:", "data:")) else None)
    page.goto(report.as_uri())
    page.evaluate("places.forEach(draw)")
    yield page
    assert wrong == []
    page.close()


@pytest.fixture
def opened(tab: Any) -> Any:
    """The page without a selection."""
    tab.evaluate("selected !== null && select(selected)")
    return tab


def click_a_point(tab: Any, place: int) -> str:
    """Click on a point of the overview and return the id of its run."""
    point = tab.locator("[data-chart=overview] .scatterlayer .point").nth(place)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.wait_for_function("selected !== null")
    return str(tab.evaluate("selected"))


def marked(tab: Any) -> list[str]:
    """The ids of the selected rows of the table."""
    return [str(row.get_attribute("data-run")) for row in tab.locator("tr.selected").all()]


def test_every_figure_is_drawn_with_all_methods(opened: Any) -> None:
    assert opened.evaluate("places.length") == opened.locator(".js-plotly-plot").count() == 5
    drawn = opened.evaluate("[...drawn][0].data.flatMap(trace => trace.meta ? [trace.meta] : [])")
    assert drawn == sorted(["correlation", "l1_probe", EVIL])
    assert opened.locator("[data-chart=overview] .scatterlayer .point").count() == 6
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_click_on_a_point_selects_the_run_in_all_figures_and_in_the_table(opened: Any) -> None:
    chosen = click_a_point(opened, 5)
    assert chosen == "l1_probe-10"
    assert marked(opened) == [chosen]
    opened.wait_for_function(f"{RINGS}.reduce((a, b) => a + b) === 3")  # not in that of the consensus
    outlined = opened.evaluate("document.querySelector('[data-heatmap]').layout.shapes.length")
    assert outlined == 2
    assert opened.locator("#selection").inner_text().startswith("Selected: l1_probe, k 10")
    opened.locator("#selection button").click()
    assert marked(opened) == []
    assert opened.locator("#selection").is_hidden()


def test_a_click_on_a_row_selects_and_a_second_click_clears(opened: Any) -> None:
    row = opened.locator("tr[data-run=correlation-2]")
    row.locator("td").nth(1).click()
    assert marked(opened) == ["correlation-2"]
    assert sum(opened.evaluate(RINGS)) == 3
    row.locator("td").nth(1).click()
    assert marked(opened) == []
    assert sum(opened.evaluate(RINGS)) == 0
    row.locator("button.select").press("Enter")
    assert marked(opened) == ["correlation-2"]


def test_a_method_can_be_hidden_in_all_figures(opened: Any) -> None:
    opened.locator("[data-legend] button[data-method=l1_probe]").first.click()
    assert opened.locator("[data-chart=overview] .scatterlayer .point").count() == 4
    pressed = opened.locator("[data-legend] button[data-method=l1_probe][aria-pressed=false]").count()
    assert pressed == opened.locator("[data-legend]").count()
    opened.locator("[data-legend] button[data-method=l1_probe]").last.click()
    assert opened.locator("[data-chart=overview] .scatterlayer .point").count() == 6


def test_names_are_shown_and_never_run(opened: Any) -> None:
    dialogs: list[str] = []
    opened.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    click_a_point(opened, 0)
    assert EVIL in opened.locator("#selection").inner_text()
    assert "alert('x')" in opened.locator("[data-chart=overview] .hoverlayer").inner_html()
    assert dialogs == []
    assert opened.locator("[data-chart] script").count() == 0


def test_zoom_and_reset(opened: Any) -> None:
    place = opened.locator("[data-chart=overview]")
    place.scroll_into_view_if_needed()
    before = opened.evaluate("[...drawn][0].layout.yaxis.range")
    box = place.locator(".nsewdrag").bounding_box()
    opened.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.2)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.7, steps=5)
    opened.mouse.up()
    opened.wait_for_timeout(400)
    low, high = opened.evaluate("[...drawn][0].layout.yaxis.range")
    assert before[0] < low < high < before[1]


@pytest.mark.slow
def test_the_report_of_a_sweep_has_all_methods_in_one_figure(browser: Browser, sweep: Sweep) -> None:
    """That of a real sweep, as it was logged to its parent run."""
    report = sweep.folder / "mlruns" / "artifacts" / sweep.parent / "artifacts" / "comparison" / "report.html"
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(report.as_uri())
    page.evaluate("places.forEach(draw)")
    methods = ["correlation", "l1_probe", "mutual_information"]
    drawn = page.evaluate(
        "[...drawn].map(place => (place.data ?? []).flatMap(trace => trace.meta ? [trace.meta] : []))"
    )
    figures = [sorted(set(names)) for names in drawn if names]
    assert len(figures) >= 3
    assert all(names == methods for names in figures)  # none is drawn apart
    chosen = click_a_point(page, 2)
    assert chosen in sweep.runs
    assert marked(page) == [chosen]
    page.close()
