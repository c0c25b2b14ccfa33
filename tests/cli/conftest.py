"""Fixtures: a small treebank, tiny models, and the command line in this or another process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest
from models import save_tiny_model
from user import KEYNEURONS, Command, Ended, Place, write_treebank


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


@pytest.fixture
def call(
    tmp_path: Path, environment: dict[str, str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """Runs the command line in this process, from an empty folder; saves seconds of imports."""
    from hydra.core.global_hydra import GlobalHydra

    from keyneurons.cli.main import main

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["keyneurons", *arguments])
        capfd.readouterr()
        status = 0
        with mock.patch.dict(os.environ, environment, clear=True):
            try:
                main()
            except SystemExit as end:
                status = int(end.code or 0)
            finally:
                GlobalHydra.instance().clear()
        out, err = capfd.readouterr()
        return Ended(status, out, err)

    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield run
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        with suppress(OSError):  # of a log on a full disk
            handler.close()
    root.handlers[:] = before
    root.setLevel(level)
