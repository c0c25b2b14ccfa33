"""Tiny models, made once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from models import save_tiny_model

from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Callable[..., Path]:
    """A model's folder by its kind and what differs in its config; read it, do not change it."""
    return functools.cache(
        lambda kind="llama", **changes: save_tiny_model(tmp_path_factory.mktemp(kind) / "tiny", kind, **changes)
    )


@pytest.fixture
def tiny(tiny_folder, tmp_path) -> Callable[..., LanguageModel]:
    """A model by its kind, not loaded yet; ``changes`` go into its config."""

    def make(kind: str = "llama", changes: dict[str, Any] | None = None, **options: Any) -> LanguageModel:
        folder = tiny_folder(kind, **(changes or {}))
        return LanguageModel(LocalModel(folder, tmp_path / "cache").fetch(), device="cpu", **options)

    return make


@pytest.fixture(scope="session")
def llama(tiny_folder, tmp_path_factory) -> LanguageModel:
    """The plain tiny model, loaded once; leave its weights and its settings as they are."""
    return LanguageModel(LocalModel(tiny_folder("llama"), tmp_path_factory.mktemp("cache")).fetch(), device="cpu")
