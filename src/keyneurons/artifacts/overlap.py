"""``overlap_count.csv`` and related files: overlap of the sets of every pair of tags."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Int
from numpy import ndarray

from keyneurons.analysis.overlap import Overlap
from keyneurons.artifacts.tables import read_matrix, write_matrix

MATRICES = ("count", "coefficient", "jaccard", "expected", "p_value")


def write_overlap(folder: Path, overlap: Overlap) -> None:
    """Write every matrix of an overlap into a run's folder."""
    for name in MATRICES:
        write_matrix(_path(folder, name), overlap.tags, getattr(overlap, name))


def read_overlap_counts(folder: Path) -> tuple[tuple[str, ...], Int[ndarray, "tags tags"]]:
    """The tags and the number of key neurons that every pair shares, from a run's folder.

    Raises:
        ValueError: the file is not such a matrix.
    """
    return read_matrix(_path(folder, "count"))


def _path(folder: Path, name: str) -> Path:
    return folder / f"overlap_{name}.csv"
