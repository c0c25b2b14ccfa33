"""Fixtures: a small treebank, tiny models, and the command line in this or another process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from models import save_tiny_model
from new_stores import copied_databases
from user import KEYNEURONS, Command, Ended, Place, write_treebank

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("user")
    return Place(
        folder,
        folder / "cache",
        save_tiny_model(folder / "llama"),
        save_tiny_model(folder / "bert", "bert"),
        write_treebank(folder / "tiny.conllu"),
    )


@pytest.fixture(scope="session", autouse=True)
def _fast_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with copied_databases(tmp_path_factory.mktemp("stores")):
        yield


@pytest.fixture(scope="module", autouse=True)
def _blank_figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Saves half a second of each run in this process, except in modules marked ``figures``."""
    if request.node.get_closest_marker("figures"):
        yield
    else:
        with mock.patch("keyneurons.report.drawing.save", save_blank):
            yield


@pytest.fixture(scope="session")
def environment(place: Place) -> dict[str, str]:
    """The environment variables of a user with this cache and without network access."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HYDRA", "MLFLOW", "KEYNEURONS"))}
    return {**own, "KEYNEURONS_CACHE": str(place.cache), "HF_HUB_OFFLINE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture(scope="session")
def command(environment: dict[str, str]) -> Command:
    """Runs the console script in a subprocess, from a given folder."""

    def run(folder: Path, *arguments: str, **variables: str) -> Ended:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [str(KEYNEURONS), *arguments],
            cwd=folder,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def here(environment: dict[str, str]) -> Command:
    """Runs the command line in this process, from a given folder; saves seconds of imports."""

    def run(folder: Path, *arguments: str) -> Ended:
        folder.mkdir(parents=True, exist_ok=True)
        out, err = StringIO(), StringIO()
        with chdir(folder), same_log_handlers(), redirect_stdout(out), redirect_stderr(err):
            status = status_of(arguments, environment)
        return Ended(status, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def call(
    tmp_path: Path, environment: dict[str, str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """Like ``here`` from an empty folder, with the output of libraries."""

    def run(*arguments: str) -> Ended:
        capfd.readouterr()
        status = status_of(arguments, environment)
        return Ended(status, *capfd.readouterr())

    monkeypatch.chdir(tmp_path)
    with same_log_handlers():
        yield run


def save_blank(figure: Figure, path: Path, *, formats: Iterable[str] = ()) -> Path:
    """Stands in for ``save`` of ``report.drawing``; writes empty files."""
    for file_format in {"png", *formats}:
        path.with_name(f"{path.name}.{file_format}").touch()
    return path.with_name(f"{path.name}.png")


def status_of(arguments: Sequence[str], environment: dict[str, str]) -> int:
    """Exit status of the command line."""
    from hydra.core.global_hydra import GlobalHydra

    from keyneurons.cli.main import main

    argv = mock.patch.object(sys, "argv", ["keyneurons", *arguments])
    with argv, mock.patch.dict(os.environ, environment, clear=True):
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            GlobalHydra.instance().clear()
    return 0


@contextmanager
def same_log_handlers() -> Generator[None]:
    """Remove the log handlers that a command adds."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        yield
    finally:
        for handler in set(root.handlers) - set(before):
            root.removeHandler(handler)
            with suppress(OSError):  # of a log on a full disk
                handler.close()
        root.handlers[:] = before
        root.setLevel(level)
