"""Run-time type checks, no network, no access to the user's cache, and shared tiny models."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import yaml
from jaxtyping import install_import_hook
from omegaconf import _utils

if TYPE_CHECKING:
    from keyneurons.activations.reader import ActivationReader
    from keyneurons.models.language_model import LanguageModel

os.environ.update(
    HF_HUB_OFFLINE="1",
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_LOGGING_LEVEL="ERROR",
    OMP_WAIT_POLICY="PASSIVE",
    TOKENIZERS_PARALLELISM="false",
)
ON_ARRAYS = "activations analysis arrays attribution basis data explore lesion models pipeline probe records selection"
install_import_hook([f"keyneurons.{package}" for package in ON_ARRAYS.split()], "beartype.beartype")


@pytest.fixture(scope="session", autouse=True)
def _fast_configurations() -> Iterator[None]:
    """Let OmegaConf parse YAML in C, which is ten times as fast."""
    loader = _utils.get_yaml_loader

    def in_c() -> Any:
        with mock.patch.object(yaml, "SafeLoader", yaml.CSafeLoader):
            return loader()

    with mock.patch.object(_utils, "get_yaml_loader", in_c):
        yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Callable[..., Path]:
    """A factory of model folders by kind and config changes; tests may not change the folders."""
    from models import save_tiny_model

    return functools.cache(
        lambda kind="llama", **changes: save_tiny_model(tmp_path_factory.mktemp(kind) / "tiny", kind, **changes)
    )


@pytest.fixture
def tiny(tiny_folder, tmp_path) -> Callable[..., LanguageModel]:
    """A factory of models by kind, not loaded; ``changes`` go into the config."""
    from keyneurons.models.language_model import LanguageModel
    from keyneurons.models.sources import LocalModel

    def make(kind: str = "llama", changes: dict[str, Any] | None = None, **options: Any) -> LanguageModel:
        folder = tiny_folder(kind, **(changes or {}))
        return LanguageModel(LocalModel(folder, tmp_path / "cache").fetch(), device="cpu", **options)

    return make


@pytest.fixture
def reader(tiny, tmp_path) -> Callable[..., ActivationReader]:
    """A factory of readers, by default of ``residual``, layers 0 and 2, with their own cache."""
    from keyneurons.activations.reader import ActivationReader
    from keyneurons.activations.store import ActivationStore

    def make(kind: str = "llama", model: LanguageModel | None = None, **options: Any) -> ActivationReader:
        chosen = {"site": "residual", "layers": (0, 2), "store": ActivationStore(tmp_path / "store"), **options}
        return ActivationReader(model or tiny(kind), **chosen)

    return make
