"""``layers_word.csv``, ``concepts_word.csv`` and related files: results of single layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.artifacts.tables import write_matrix, write_table
from keyneurons.choices import ReadAt
from keyneurons.pipeline.layers import OneLayer

CONCEPT_COLUMNS = ("layer", "tag", "concept", "accuracy", "null_mean", "p_value", "train_words", "test_words")


def write_layers(folder: Path, read_at: ReadAt, layers: Sequence[OneLayer]) -> None:
    """Write metrics by layer for one reading position, and the tests and cosines of concepts.

    Args:
        folder: the run's folder.
        read_at: position at which words were read.
        layers: results of the layers.
    """
    names = sorted({name for one in layers for name in one.metrics})
    rows = [[one.layer, *(one.metrics.get(name, "") for name in names)] for one in layers]
    write_table(folder / f"layers_{read_at}.csv", ["layer", *names], rows)
    if any(one.concepts for one in layers):
        write_table(folder / f"concepts_{read_at}.csv", CONCEPT_COLUMNS, _concept_rows(layers))
        write_matrix(folder / f"concept_cosine_{read_at}.csv", *mean_cosine(layers))


def mean_cosine(layers: Sequence[OneLayer]) -> tuple[tuple[str, ...], Float[ndarray, "tags tags"]]:
    """Cosines between the tags' CAVs, averaged over the layers."""
    concepts = [one.concepts for one in layers if one.concepts is not None]
    return concepts[0].tags, np.nanmean([each.cosine for each in concepts], axis=0)


def _concept_rows(layers: Sequence[OneLayer]) -> list[list[object]]:
    return [
        [one.layer, tag, kind, test.accuracy, test.null_mean, test.p_value, *one.concepts.words[tag]]
        for one in layers
        if one.concepts is not None
        for kind, tests in (("cav", one.concepts.direction), ("car", one.concepts.region))
        for tag, test in tests.items()
    ]
