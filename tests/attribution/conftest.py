"""A tiny model, loaded once."""

from __future__ import annotations

import pytest

from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel


@pytest.fixture(scope="session")
def llama(tiny_folder, tmp_path_factory) -> LanguageModel:
    """The plain tiny model, loaded once; tests must not change its weights or settings."""
    return LanguageModel(LocalModel(tiny_folder("llama"), tmp_path_factory.mktemp("cache")).fetch(), device="cpu")
