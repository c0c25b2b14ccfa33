"""The dataset of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keyneurons.config import inputs
from keyneurons.data.raw_text import RawText
from keyneurons.data.sources import ConlluFiles, Starter, TreebankSource
from keyneurons.data.ud import UniversalDependencies
from keyneurons.pipeline.dataset import Dataset

SOURCES: Mapping[type[inputs.Dataset], Callable[[dict[str, Any], Path, int], TreebankSource]] = {
    inputs.StarterDataset: lambda _, __, ___: Starter(),
    inputs.UDDataset: lambda own, cache, seed: UniversalDependencies(**own, cache=cache, seed=seed),
    inputs.ConlluDataset: lambda own, _, seed: ConlluFiles(**own, seed=seed),
    inputs.TextDataset: lambda own, cache, seed: RawText(**own, cache=cache, seed=seed),
}
"""Factories of sources by kind of dataset; arguments are the kind's own keys, cache and seed."""


def build_dataset(dataset: inputs.Dataset, cache: Path, seed: int) -> Dataset:
    """The source of a treebank with the options of its loading: tag column, caps, tags.

    Raises:
        ValueError: if a file of the treebank does not exist.
    """
    settings = {name: getattr(dataset, name) for name in type(dataset).model_fields}
    options = {name: settings.pop(name) for name in inputs.Dataset.model_fields}
    own = {name: value for name, value in settings.items() if name != "source"}
    source = SOURCES[type(dataset)](own, cache, seed)
    for name, path in own.items():
        if isinstance(path, Path) and name != "stanza_folder" and not path.expanduser().exists():
            raise ValueError(f"{path}: no such file")
    return Dataset(source=source, seed=seed, **options)
