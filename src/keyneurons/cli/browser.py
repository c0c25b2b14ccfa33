"""Opens a page in the user's browser once its server answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import webbrowser
from contextlib import suppress
from urllib.request import urlopen

PATIENCE = 60  # seconds until a server must answer


def has_browser() -> bool:
    """Whether a browser with a window can be opened; text browsers would take the terminal."""
    if sys.platform in {"darwin", "win32"}:
        return True
    return any(os.environ.get(name) for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"))


def open_page(address: str) -> None:
    """Open a page in the browser, if there is one; never fails."""
    if has_browser():
        with suppress(webbrowser.Error, OSError):
            webbrowser.open(address)


def open_later(address: str, health: str) -> None:
    """Start a process that opens a page once its server answers, and return at once.

    Args:
        address: the page.
        health: an address that answers when the server is ready.
    """
    if has_browser():
        quiet = subprocess.DEVNULL
        subprocess.Popen([sys.executable, "-m", __name__, address, health], stdin=quiet, stdout=quiet, stderr=quiet)


def _wait(health: str) -> bool:
    """Whether the server answers; False also if the process that started this one has ended."""
    end, parent = time.monotonic() + PATIENCE, os.getppid()
    while time.monotonic() < end and os.getppid() == parent:
        with suppress(OSError), urlopen(health, timeout=5) as response:
            return bool(response.status == 200)
        time.sleep(0.2)
    return False


if __name__ == "__main__":
    page, health = sys.argv[1:]
    if _wait(health):
        open_page(page)
