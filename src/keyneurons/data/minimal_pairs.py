"""Minimal pairs of a grammatical and an ungrammatical sentence, in the format of BLiMP.

Warstadt et al. 2020, arXiv:1912.00582.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from keyneurons.data.reading import read_text

_SENTENCES = ("sentence_good", "sentence_bad")
_PHENOMENA = ("phenomenon", "UID", "linguistics_term")

Line = tuple[int, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class MinimalPair:
    """Two minimally different sentences; only ``good`` is grammatical."""

    good: str
    bad: str
    phenomenon: str


def packaged_minimal_pairs() -> tuple[MinimalPair, ...]:
    """Read the packaged pairs: American English, the same number for each phenomenon."""
    with resources.as_file(resources.files("keyneurons.data") / "minimal_pairs.csv") as path:
        return read_minimal_pairs(path)


def read_minimal_pairs(path: Path) -> tuple[MinimalPair, ...]:
    """Read minimal pairs from a CSV file with a header or from JSON lines (``.jsonl``).

    The field names are BLiMP's: ``sentence_good`` and ``sentence_bad`` are required. The phenomenon
    is the first existing field of ``phenomenon``, ``UID`` and ``linguistics_term``, or else
    ``all``. Other fields, and white space around a sentence, are ignored.

    Args:
        path: The file, UTF-8, plain or compressed (``.gz``, ``.xz``).

    Returns:
        The pairs in file order.

    Raises:
        ValueError: If the file is malformed or has no pairs. The message is one line with the file,
            the line number and the error.
    """
    path = Path(path)
    rows = _json_rows if ".jsonl" in path.suffixes else _csv_rows
    pairs = tuple(_pair(path, number, row) for number, row in rows(path, read_text(path)))
    if not pairs:
        raise ValueError(f"{path}:1: the file has no pairs")
    return pairs


# Yields each row with the number of its first line; a quoted field can span several lines.
def _csv_rows(path: Path, text: str) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text), strict=True)
    header: list[str] | None = None
    start = 1
    try:
        for row in reader:
            if row and header is None:
                header = row
                _check_names(path, start, header)
            elif row and header is not None:
                if len(row) != len(header):
                    raise ValueError(f"{path}:{start}: expected {len(header)} columns as in the header, got {len(row)}")
                yield start, dict(zip(header, row, strict=True))
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}:{start}: broken CSV: {error}") from error


def _json_rows(path: Path, text: str) -> Iterator[Line]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: broken JSON: {error.msg} at column {error.colno}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}:{number}: expected a JSON object with {_SENTENCES[0]}, got {line[:40]}")
        _check_names(path, number, list(row))
        yield number, row


def _check_names(path: Path, number: int, names: Sequence[str]) -> None:
    if missing := [name for name in _SENTENCES if name not in names]:
        existing = ", ".join(map(repr, names)) or "none"
        raise ValueError(f"{path}:{number}: no field {' and '.join(missing)}; the fields are {existing}")
    if repeated := [name for name in (*_SENTENCES, *_PHENOMENA) if names.count(name) > 1]:
        raise ValueError(f"{path}:{number}: the field {repeated[0]} occurs twice")


def _pair(path: Path, number: int, row: Mapping[str, object]) -> MinimalPair:
    good, bad = (_field(path, number, row, name) for name in _SENTENCES)
    if good == bad:
        raise ValueError(f"{path}:{number}: both sentences are {good!r}")
    name = next((name for name in _PHENOMENA if name in row), None)
    return MinimalPair(good, bad, "all" if name is None else _field(path, number, row, name))


def _field(path: Path, number: int, row: Mapping[str, object], name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise ValueError(f"{path}:{number}: {name} must be a string, got {value!r}")
    if not value.strip():
        raise ValueError(f"{path}:{number}: {name} is empty")
    return value.strip()
