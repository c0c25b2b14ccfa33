"""Tables of a run as data frames, with names as they were written."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame, Series

NAMES = frozenset({"tag", "site", "family", "reading", "concept", "method", "run", "name"})
"""Columns of names, which are never numbers: a tag may be ``NA``, ``null`` or ``1``."""
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_WORDS = {"True": True, "False": False}


def read_frame(path: Path) -> DataFrame:
    """Read a table of a run.

    Columns of names are text. Other columns are numbers or truth values if all their cells are;
    empty cells are then missing values. The first column of a matrix, whose names are also the
    header, is the index.

    Args:
        path: the CSV file.

    Returns:
        The table.

    Raises:
        ValueError: if the file is not a table.
    """
    from pandas import DataFrame, Index

    head, rows = _read(path)
    is_matrix = len(head) > 1 and [row[0] for row in rows] == head[1:]
    if len(set(head[is_matrix:])) < len(head[is_matrix:]):
        raise ValueError(f"{path} is not a table: names of columns repeat")
    if is_matrix:
        columns = {name: _converted([row[i] for row in rows]) for i, name in enumerate(head[1:], start=1)}
        return DataFrame(columns).set_axis(Index(head[1:], dtype=object, name=head[0] or None), axis=0)
    cells = {name: [row[i] for row in rows] for i, name in enumerate(head)}
    return DataFrame({name: _text(own) if name in NAMES else _converted(own) for name, own in cells.items()})


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file, strict=True)
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path} is not a table: {error}") from error
    if any(len(row) != len(head) for row in rows):
        raise ValueError(f"{path} is not a table: rows differ in length")
    return head, rows


def _converted(cells: Sequence[str]) -> Series:
    """Whole numbers, numbers or truth values if all cells are, else text."""
    from pandas import Series

    if cells and all(_INTEGER.fullmatch(cell) for cell in cells):
        return Series([int(cell) for cell in cells])
    if cells and all(cell in _WORDS for cell in cells):
        return Series([_WORDS[cell] for cell in cells])
    try:
        return Series([float(cell) if cell else float("nan") for cell in cells], dtype="float64")
    except ValueError:
        return _text(cells)


def _text(cells: Sequence[str]) -> Series:
    from pandas import Series

    return Series(list(cells), dtype=object)
