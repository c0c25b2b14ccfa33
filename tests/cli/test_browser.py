"""Opening pages in a browser: only one with a window, only once the server answers."""

from __future__ import annotations

import http.server
import sys
import threading
import time
from pathlib import Path

import pytest

from keyneurons.cli.browser import has_browser, open_later, open_page

VARIABLES = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the addresses that a browser opened."""
    script, file = tmp_path / "browser", tmp_path / "opened"
    script.write_text(f'#!/bin/sh\necho "$1" >> {file}\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    return file


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="has windows without these variables")
@pytest.mark.parametrize("variable", ["none", *VARIABLES])
def test_a_browser_needs_a_display_or_the_users_choice(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if variable != "none":
        monkeypatch.setenv(variable, "x")
    assert has_browser() == (variable != "none")


def test_a_page_is_opened_in_the_users_browser(opened: Path) -> None:
    open_page("http://127.0.0.1:1/#/a?b=c")
    assert opened.read_text() == "http://127.0.0.1:1/#/a?b=c\n"


def test_a_browser_that_cannot_start_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "/no/such/browser %s")
    open_page("http://127.0.0.1:1/")


def test_a_page_is_opened_when_its_server_answers(opened: Path) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answered.append(self.path)
            self.send_response(200 if len(answered) > 1 else 503)
            self.end_headers()

    answered: list[str] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        open_later(address, f"{address}/health")
        deadline = time.monotonic() + 60
        while not opened.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        server.shutdown()
    assert answered == ["/health", "/health"]
    assert opened.read_text() == f"{address}\n"
