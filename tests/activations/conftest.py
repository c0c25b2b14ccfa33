"""Tiny models, made once, and a reader of their activations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from models import save_tiny_model

from keyneurons.activations.capture import Capture
from keyneurons.activations.reader import ActivationReader
from keyneurons.activations.store import ActivationStore
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Callable[..., Path]:
    """A model's folder by its kind; read it, do not change it."""
    return functools.cache(
        lambda kind="llama", **changes: save_tiny_model(tmp_path_factory.mktemp(kind) / "tiny", kind, **changes)
    )


@pytest.fixture
def tiny(tiny_folder, tmp_path) -> Callable[..., LanguageModel]:
    """A model by its kind, not loaded yet."""

    def make(kind: str = "llama", **options: Any) -> LanguageModel:
        return LanguageModel(LocalModel(tiny_folder(kind), tmp_path / "cache").fetch(), device="cpu", **options)

    return make


@pytest.fixture
def reader(tiny, tmp_path) -> Callable[..., ActivationReader]:
    """A reader of the residual of layers 0 and 2 in an own cache, unless said otherwise."""

    def make(kind: str = "llama", model: LanguageModel | None = None, **options: Any) -> ActivationReader:
        chosen = {"site": "residual", "layers": (0, 2), "store": ActivationStore(tmp_path / "store"), **options}
        return ActivationReader(model or tiny(kind), **chosen)

    return make


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """Grows by the number of sentences with every forward pass."""
    seen: list[int] = []
    run = Capture.__call__

    def counted(self, inputs, take):
        seen.append(len(inputs["input_ids"]))
        return run(self, inputs, take)

    monkeypatch.setattr(Capture, "__call__", counted)
    return seen
