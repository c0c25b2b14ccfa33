"""Two runs on a tiny model, and the page on them in another process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from models import save_tiny_model
from playwright.sync_api import Browser
from serving import free_port, serving
from user import KEYNEURONS, QUICK, output_folders, runs_in, write_treebank


@dataclass(frozen=True)
class Explored:
    """The address of the page, and the ids of its runs."""

    address: str
    runs: list[str]
    log: Path


@pytest.fixture(scope="session")
def explored(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explored]:
    folder = tmp_path_factory.mktemp("explored")
    environment = {**os.environ, "KEYNEURONS_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    data = ["dataset=conllu", f"dataset.file={write_treebank(folder / 'tiny.conllu')}", *QUICK]
    model = ["model=local", f"model.folder={save_tiny_model(folder / 'llama')}", "trainer=cpu", "top_k=3"]
    for layer in ("layer=2", "layer=1"):
        subprocess.run(
            [str(KEYNEURONS), *model, *data, layer], cwd=folder, env=environment, check=True, capture_output=True
        )
    port = free_port()
    command = [str(KEYNEURONS), "explore", *map(str, output_folders(folder)), "--no-browser", f"--port={port}"]
    with serving(command, port, folder, environment, answers="/"):
        address = f"http://127.0.0.1:{port}"
        yield Explored(address, [run.info.run_id for run in runs_in(folder)], folder / "server.log")


@dataclass
class Visit:
    """A page of the browser with the requests and errors that it has seen."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def words(self, gloss: str) -> list[str]:
        """The words of a gloss."""
        return list(self.page.locator(f"{gloss} .kn-word .kn-form").all_inner_texts())

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for a condition."""
        for _ in range(600):
            if is_so():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(self.page.inner_text("body"))

    def after(self, selector: str, *actions: Any) -> str:
        """The HTML of an element once it differs from what it is before some actions."""
        shown = self.page.locator(selector)
        before = shown.inner_html() if shown.count() else ""
        for action in actions:
            action()
        self.page.wait_for_function(
            "([selector, before]) => (document.querySelector(selector)?.innerHTML ?? before) !== before",
            arg=[selector, before],
        )
        return str(shown.inner_html())


@pytest.fixture
def visit(browser: Browser, explored: Explored) -> Iterator[Any]:
    """Opens the page with some parameters, and waits for an element."""
    visits: list[Visit] = []

    def open_page(query: str = "", ready: str = "#kn-read") -> Visit:
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        opened = Visit(context.new_page())
        opened.page.set_default_timeout(60_000)
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.page.on("dialog", lambda dialog: (opened.errors.append(dialog.message), dialog.dismiss()))
        opened.page.goto(f"{explored.address}/{query}")
        opened.page.wait_for_selector(ready)
        visits.append(opened)
        return opened

    yield open_page
    for each in visits:
        each.page.context.close()
        assert not each.errors
        foreign = [url for url in each.requests if not url.startswith((explored.address, "data:", "blob:"))]
        assert not foreign
    assert "Traceback" not in explored.log.read_text()
