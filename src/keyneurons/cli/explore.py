"""The command ``explore``: serves a local page on finished runs."""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from keyneurons.cli.ui import free_port
from keyneurons.config.schema import Config

WITHOUT_TELEMETRY: Mapping[str, str] = MappingProxyType({
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
})
"""Environment variables that Gradio and huggingface_hub read at import."""


def run_explore(
    given: Sequence[str],
    port: int,
    *,
    browser: bool,
    compose: Callable[[Sequence[str]], Config],
    say: Callable[[str], object],
) -> None:
    """Load some runs and serve the page on them until the command is interrupted.

    Args:
        given: runs, and overrides of ``tracking``, ``cache`` and ``model.device``.
        port: port on 127.0.0.1.
        browser: whether to open the page in a browser.
        compose: returns the validated configuration with some overrides.
        say: prints a line for the user.

    Raises:
        ValueError: Gradio is not installed, the port is unavailable, or a run cannot be loaded.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("explore needs Gradio: pip install 'keyneurons[explore]'")
    free_port(port)
    overrides = [each for each in given if "=" in each and not Path(each).exists()]
    runs = [each for each in given if each not in overrides]
    if not runs:
        raise ValueError("give at least one run: its MLflow id or its folder under outputs/")
    os.environ.update(WITHOUT_TELEMETRY)
    from keyneurons.explore.loading import load_runs
    from keyneurons.explore.page import make_page, serve
    from keyneurons.explore.session import Session

    page = make_page(Session(load_runs(runs, overrides, compose)))
    serve(page, port, browser=browser)
    say(f"page at http://127.0.0.1:{port} (stop it with Ctrl-C)")
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)
