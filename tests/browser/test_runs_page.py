"""MLflow's runs page in a browser: the plain address, views, and the links of a sweep."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect
from six_runs import Sweep

COLUMNS = ("choice.selection", "layer", "top_k", "probe/test_accuracy", "worth/neurons", "probe/advantage")
STATE = 'MLflowLocalStorage-1.1-ExperimentPage-["1"]-ReactComponentState'
VIEW = "Key neurons and controls"

pytestmark = pytest.mark.slow


def header(page: Page, name: str) -> Locator:
    return page.locator(f".ag-header-cell[col-id*='`{name}`']")


def check_columns(page: Page, n_runs: int = 6) -> None:
    """Check that the table has our columns and an accuracy in each row of a run."""
    for name in COLUMNS:
        expect(header(page, name)).to_be_visible()
    cells = page.locator(".ag-center-cols-container [col-id*='probe/test_accuracy']")
    expect(cells.filter(has_text=re.compile(r"^[01](\.\d+)?$"))).to_have_count(n_runs)


def test_the_plain_address_shows_our_columns_also_after_a_reload(page: Page, address: str) -> None:
    page.goto(address)
    check_columns(page)
    assert "/experiments/1/runs?workflowType=machine_learning" in page.url
    expect(page.get_by_placeholder("Ask a question")).to_have_count(0)  # the assistant's panel is closed
    page.reload()
    check_columns(page)
    page.goto("about:blank")
    page.goto(address)
    check_columns(page)


def test_the_experiment_in_mlflows_list_has_our_columns(page: Page, address: str) -> None:
    page.goto(f"{address}/#/experiments")
    page.get_by_role("link", name="keyneurons", exact=True).click()
    check_columns(page)


def test_a_users_own_columns_stay(page: Page, address: str) -> None:
    page.goto(address)
    check_columns(page)
    column = "metrics.`probe/advantage`"
    page.evaluate(
        """([key, column]) => {
            const state = JSON.parse(localStorage.getItem(key));
            state.selectedColumns = state.selectedColumns.filter((each) => each !== column);
            localStorage.setItem(key, JSON.stringify(state));
        }""",
        [STATE, column],
    )
    page.reload()
    expect(header(page, "worth/neurons")).to_be_visible()
    expect(header(page, "probe/advantage")).to_have_count(0)


@pytest.mark.long
def test_mlflows_own_server_lists_the_view_and_keeps_it_once_saved(page: Page, plain_server: str) -> None:
    page.set_viewport_size({"width": 2400, "height": 900})  # its assistant covers a part of the table
    runs = f"{plain_server}/#/experiments/1/runs?workflowType=machine_learning"
    page.goto(runs)
    page.get_by_test_id("saved-views-trigger").click()
    page.get_by_role("menuitem", name=VIEW).first.click()
    check_columns(page)
    page.get_by_role("button", name="Override saved view").click()
    page.goto("about:blank")
    page.goto(runs)
    check_columns(page)


def test_a_sweep_links_to_the_charts_and_the_table_of_its_runs(page: Page, address: str, sweep: Sweep) -> None:
    page.goto(f"{address}/#/experiments/1/runs/{sweep.parent}")
    with page.expect_popup() as table:
        page.get_by_role("link", name="their table").click()
    check_columns(table.value)
    expect(table.value.get_by_text(re.compile("^6 matching runs$"))).to_be_visible()
    with page.expect_popup() as charts:
        page.get_by_role("link", name="charts of these runs").click()
    expect(charts.value.get_by_text(VIEW, exact=True).first).to_be_visible()
    expect(charts.value.locator(".js-plotly-plot").first).to_be_visible()
