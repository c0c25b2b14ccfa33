"""Fixtures: a browser, a sweep of six runs, servers of its store; skips without a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from models import save_tiny_model
from playwright.sync_api import Browser, Page, expect, sync_playwright
from serving import free_port, serving
from six_runs import Sweep
from user import KEYNEURONS, QUICK, Place, runs_in, write_treebank

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWEEP = ["selection=correlation,mutual_information,l1_probe", "top_k=2,4", "worth.sizes=3", "worth.sets=2"]
PATIENCE = 60_000  # ms
SIZE = (1600, 900)

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium of the system, or the one that ``KEYNEURONS_CHROMIUM`` names."""
    path = os.environ.get("KEYNEURONS_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip(f"needs Chromium: none of {', '.join(CHROMIUM)} is on the path, KEYNEURONS_CHROMIUM is not set")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a browser that was never on the server."""
    context = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]})
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def variables(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment variables of a user without network access."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HYDRA", "MLFLOW", "KEYNEURONS"))}
    cache = tmp_path_factory.mktemp("cache")
    return {**own, "KEYNEURONS_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture(scope="session")
def sweep(variables: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep over three methods and two numbers of neurons, on a tiny model."""
    folder = tmp_path_factory.mktemp("sweep")
    model, treebank = save_tiny_model(folder / "llama"), write_treebank(folder / "tiny.conllu")
    small = Place(folder, folder, model, model, treebank).whole
    subprocess.run(
        [str(KEYNEURONS), "-m", *small, *QUICK, *SWEEP],
        cwd=folder,
        env=variables,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    parent, *runs = runs_in(folder)
    return Sweep(folder, parent.info.run_id, tuple(run.info.run_id for run in runs))


@pytest.fixture(scope="session")
def address(sweep: Sweep, variables: Mapping[str, str]) -> Iterator[str]:
    """The address of a server that ``keyneurons ui`` started."""
    port = free_port()
    with serving([str(KEYNEURONS), "ui", "--no-browser", "--port", str(port)], port, sweep.folder, variables):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def plain_server(sweep: Sweep, variables: Mapping[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of MLflow's own server of the same store."""
    port = free_port()
    with _mlflow(sweep.folder / "mlruns" / "mlflow.db", port, tmp_path, variables):
        yield f"http://127.0.0.1:{port}"


def _mlflow(database: Path, port: int, folder: Path, variables: Mapping[str, str]) -> AbstractContextManager[None]:
    server = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}"]
    server += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return serving(server, port, folder, {**variables, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})
