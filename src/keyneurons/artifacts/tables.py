"""Writing tables as CSV, and reading matrices back; names are text and never converted."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from keyneurons.atomic_files import write_text

_INTEGER = re.compile(r"-?[0-9]+")


def write_table(path: Path, head: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
    """Write a table as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    write_text(path, text.getvalue())


def write_matrix(path: Path, names: Sequence[str], matrix: Shaped[ndarray, "names names"]) -> None:
    """Write a matrix with the names as header and first column."""
    write_table(path, ["", *names], [[name, *row] for name, row in zip(names, matrix.tolist(), strict=True)])


def read_matrix(path: Path) -> tuple[tuple[str, ...], Shaped[ndarray, "names names"]]:
    """Read a matrix written by ``write_matrix``.

    Args:
        path: the file.

    Returns:
        The names and the matrix, with an integer dtype if all cells are integers.

    Raises:
        ValueError: the file is not such a matrix.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            (corner, *names), *rows = csv.reader(file, strict=True)
        cells = [row[1:] for row in rows]
        whole = all(_INTEGER.fullmatch(cell) for row in cells for cell in row)
        matrix = np.array(
            [list(map(int if whole else float, row)) for row in cells], dtype=np.int64 if whole else float
        )
        square = matrix.reshape(len(names), len(names))
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path} is not a matrix: {error}") from error
    if corner or [row[:1] for row in rows] != [[name] for name in names]:
        raise ValueError(f"{path} is not a matrix with the same names as header and first column")
    return tuple(names), square
