"""Killed processes, and processes that extract the same activations at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from models import save_tiny_model, sentences

from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel

HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path):
    save_tiny_model(tmp_path / "tiny")
    return tmp_path


def start(folder, log, kill_after=-1, *flags):
    log.touch()
    command = [sys.executable, HERE / "extracting.py", folder, log, str(kill_after), *flags]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_here(folder, store):
    model = LanguageModel(LocalModel(folder / "tiny", folder / "cache").fetch(), device="cpu")
    ActivationReader(model, "mlp", (0, 2), batch_tokens=30, store=ActivationStore(folder / store))(sentences(), "x")
    return {p.relative_to(folder / store): p.read_bytes() for p in (folder / store).glob("*/*")}


def test_killed_in_the_middle_it_goes_on_and_ends_the_same(folder, passes):
    killed = start(folder, folder / "log", 3)
    assert killed.wait(60) == -signal.SIGKILL
    assert list((folder / "store").glob("*/partial-*/progress.json"))
    assert not list((folder / "store").glob("*/*.npy"))
    uninterrupted = read_here(folder, "other")
    n = len(passes)
    assert read_here(folder, "store") == uninterrupted
    assert n + n - 3 <= len(passes) <= n + n - 2  # the last one may not have reached the disk


def test_two_at_once_extract_once(folder, passes):
    flags = [folder / "first", folder / "second"]
    both = [start(folder, folder / "log", -1, *order) for order in (flags, flags[::-1])]
    for process in both:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert read_here(folder, "store") == read_here(folder, "other")
    assert len((folder / "log").read_text()) == len(passes) > 3
