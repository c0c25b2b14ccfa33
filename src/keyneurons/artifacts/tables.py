"""Tables as CSV and for MLflow, and matrices, which are read back; names are text."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from keyneurons.atomic_files import write_text

_INTEGER = re.compile(r"-?[0-9]+")


@dataclass(frozen=True)
class Table:
    """A table; an empty cell is None."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    def write_csv(self, path: Path) -> None:
        """Write the table as CSV."""
        write_table(path, self.columns, self.rows)

    def write_json(self, path: Path) -> None:
        """Write the table in the format of MLflow's table view; NaN becomes an empty cell."""
        data = [[None if isinstance(cell, float) and math.isnan(cell) else cell for cell in row] for row in self.rows]
        content = {"columns": self.columns, "data": data}
        write_text(path, json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")


def write_table(path: Path, head: Sequence[object], rows: Sequence[Sequence[object]]) -> None:
    """Write a table as CSV."""
    write_text(path, "".join(_line(row) for row in (head, *rows)))


def _line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # cells with either character are quoted
    return text.getvalue().removesuffix("\r\n") + "\n"


def write_matrix(path: Path, names: Sequence[str], matrix: Shaped[ndarray, "names names"], label: str = "tag") -> None:
    """Write a matrix with the names as header and first column; ``label`` heads that column."""
    write_table(path, [label, *names], [[name, *row] for name, row in zip(names, matrix.tolist(), strict=True)])


def read_matrix(path: Path, label: str = "tag") -> tuple[tuple[str, ...], Shaped[ndarray, "names names"]]:
    """Read a matrix written by ``write_matrix``.

    Args:
        path: the file.
        label: header of the first column.

    Returns:
        The names and the matrix, with an integer dtype if all cells are integers.

    Raises:
        ValueError: the file is not such a matrix.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            (first, *names), *rows = csv.reader(file, strict=True)
        cells = [row[1:] for row in rows]
        whole = all(_INTEGER.fullmatch(cell) for row in cells for cell in row)
        matrix = np.array(
            [list(map(int if whole else float, row)) for row in cells], dtype=np.int64 if whole else float
        )
        square = matrix.reshape(len(names), len(names))
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path} is not a matrix: {error}") from error
    if first != label or [row[:1] for row in rows] != [[name] for name in names]:
        raise ValueError(f"{path} is not a matrix with the same names as header and first column {label!r}")
    return tuple(names), square
