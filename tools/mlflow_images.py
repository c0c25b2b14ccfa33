"""Writes the images of MLflow's pages in ``docs/images`` from a running server.

    keyneurons ui --no-browser --port 5000 &
    python tools/mlflow_images.py http://127.0.0.1:5000 SWEEP

SWEEP is the MLflow id of a sweep; Chromium must be installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from urllib.parse import parse_qs, quote

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE = {"width": 1600, "height": 900}
PATIENCE = 120_000  # ms
SETTLED = 4_000  # ms until charts are drawn
PICTURES = "[...document.querySelectorAll('img')].filter((i) => i.naturalWidth > 300)"


def main() -> None:
    """Take all images."""
    parser = argparse.ArgumentParser(description="images of MLflow's pages")
    parser.add_argument("address", help="address of a server started by keyneurons ui")
    parser.add_argument("sweep", help="MLflow id of a sweep")
    parser.add_argument("--folder", type=Path, default=IMAGES)
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(PATIENCE)
        page.goto(options.address)
        page.locator(".ag-center-cols-container .ag-row").first.wait_for()
        save(page, options.folder / "runs.png")
        page.goto(f"{page.url}&compareRunsMode=CHART")
        page.locator(".js-plotly-plot").nth(2).wait_for()
        save(page, options.folder / "charts.png")
        page.goto(f"{options.address}/#/experiments/1/runs/{options.sweep}")
        every = str(page.get_by_role("link", name="their figures").get_attribute("href"))
        page.goto(f"{options.address}/{of_two_runs(every)}")
        page.get_by_text("overlap.png", exact=True).first.click()
        page.wait_for_function(f"new Set({PICTURES}.map((i) => i.src)).size === 2")
        page.evaluate(f"{PICTURES}[0].scrollIntoView({{block: 'center'}})")
        save(page, options.folder / "figures.png")
        page.goto(f"{options.address}/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=ARTIFACT")
        page.get_by_text("ADJ #1", exact=True).wait_for()
        save(page, options.folder / "table.png")
        browser.close()


def of_two_runs(link: str) -> str:
    """The link to the compare page of a sweep's first and last run."""
    path, _, query = link.partition("?")
    fields = parse_qs(query)
    runs = json.loads(fields["runs"][0])
    return f"{path}?runs={quote(json.dumps([runs[0], runs[-1]]))}&experiments={quote(fields['experiments'][0])}"


def save(page: Page, path: Path) -> None:
    """Write the image of a page whose charts are drawn."""
    page.wait_for_timeout(SETTLED)
    page.screenshot(path=path)


if __name__ == "__main__":
    main()
