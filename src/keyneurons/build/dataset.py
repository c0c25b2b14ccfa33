"""The treebank that a configuration names."""

from __future__ import annotations

from pathlib import Path

from keyneurons.config import inputs
from keyneurons.data.ewt import UDEnglishEWT
from keyneurons.data.raw_text import RawText
from keyneurons.data.sources import ConlluFiles, Starter, TreebankSource
from keyneurons.pipeline.dataset import Dataset


def build_dataset(dataset: inputs.Dataset, cache: Path, seed: int) -> Dataset:
    """The treebank and what is asked of it."""
    asked = {name: getattr(dataset, name) for name in inputs.Dataset.model_fields}
    return Dataset(source=_treebank_source(dataset, cache, seed), **asked)


def _treebank_source(dataset: inputs.Dataset, cache: Path, seed: int) -> TreebankSource:
    own = {
        name: getattr(dataset, name) for name in type(dataset).model_fields if name not in inputs.Dataset.model_fields
    }
    source = own.pop("source")
    if source == "conllu":
        return ConlluFiles(**own, seed=seed)
    if source == "ud_english_ewt":
        return UDEnglishEWT(**own, cache=cache)
    if source == "text":
        return RawText(**own, cache=cache, seed=seed)
    return Starter()
