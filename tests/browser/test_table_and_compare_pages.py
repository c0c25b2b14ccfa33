"""Two runs of a sweep side by side in a browser: MLflow's table view and its compare page."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from six_runs import Sweep

PICTURES = "new Set([...document.querySelectorAll('img')].filter((i) => i.naturalWidth > 300).map((i) => i.src))"

pytestmark = pytest.mark.slow


def test_the_table_view_shows_the_neurons_of_two_runs(page: Page, address: str, sweep: Sweep) -> None:
    first, second = sweep.sets()[:2]
    table = f"{address}/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=ARTIFACT"
    page.goto(table)
    expect(page.get_by_text("DET #1", exact=True)).to_be_visible()
    expect(page.get_by_text("key neuron", exact=True).first).to_be_visible()
    for file in (first, second):
        strongest = file["tags"]["DET"][0]
        name = f"{file['site']}.{strongest['layer']}.{strongest['neuron']}"
        expect(page.get_by_text(name, exact=True).first).to_be_attached()
    page.get_by_placeholder("Filter by tag and rank").fill("NOUN #1")
    expect(page.get_by_text("DET #1", exact=True)).to_have_count(0)
    expect(page.get_by_text("NOUN #1", exact=True)).to_be_visible()


def test_the_compare_page_shows_both_overlap_pictures(page: Page, address: str, sweep: Sweep) -> None:
    runs = quote(json.dumps(sweep.runs[:2]))
    page.goto(f"{address}/#/compare-runs?runs={runs}&experiments={quote(json.dumps(['1']))}")
    page.get_by_text("overlap.png", exact=True).first.click()
    page.wait_for_function(f"{PICTURES}.size === 2")
