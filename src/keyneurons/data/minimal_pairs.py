"""Minimal pairs of a grammatical and an ungrammatical sentence, in public formats.

BLiMP (Warstadt et al. 2020, arXiv:1912.00582) and MultiBLiMP (Jumelet et al. 2025,
arXiv:2504.02768).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from keyneurons.data.reading import read_text
from keyneurons.metric_names import metric_name

PACKAGED_LANGUAGE = "eng"
LONGEST_LABEL = 80  # characters of a phenomenon or language in the names of metrics

_LANGUAGES = ("lang", "language")
_SUFFIXES = (".csv", ".tsv", ".jsonl")
_PACKED = ("", ".gz", ".xz")

Line = tuple[int, Mapping[str, object]]


@dataclass(frozen=True)
class Layout:
    """Names of the fields of a format.

    The phenomenon is the first existing field of ``phenomena``. In files ``by_language``, the name
    of the file or of its folder is the code of the language, if no field has it.
    """

    good: str
    bad: str
    phenomena: tuple[str, ...]
    by_language: bool = False


BLIMP = Layout("sentence_good", "sentence_bad", ("phenomenon", "UID", "linguistics_term"))
MULTIBLIMP = Layout("sen", "wrong_sen", ("phenomenon",), by_language=True)


@dataclass(frozen=True, slots=True)
class MinimalPair:
    """Two minimally different sentences; only ``good`` is grammatical.

    ``language`` is empty if it is unknown.
    """

    good: str
    bad: str
    phenomenon: str
    language: str = ""


def packaged_minimal_pairs(languages: Collection[str] | None = None) -> tuple[MinimalPair, ...]:
    """Read the packaged pairs: American English, the same number for each phenomenon."""
    with resources.as_file(resources.files("keyneurons.data") / "minimal_pairs.csv") as path:
        pairs = tuple(replace(pair, language=PACKAGED_LANGUAGE) for pair in _read_file(path))
    return _of_languages(pairs, languages, "lesion.pairs=packaged")


def read_minimal_pairs(path: Path, languages: Collection[str] | None = None) -> tuple[MinimalPair, ...]:
    """Read minimal pairs from a file, or from all CSV, TSV and JSONL files under a folder.

    A file is CSV or TSV with a header, or JSON lines. Its fields are BLiMP's (``sentence_good``,
    ``sentence_bad``; the phenomenon is the first existing field of ``phenomenon``, ``UID`` and
    ``linguistics_term``) or MultiBLiMP's (``sen``, ``wrong_sen``, ``phenomenon``). Without such a
    field, the phenomenon is ``all``. The language is the field ``lang`` or ``language``; in
    MultiBLiMP's files without it, it is the name of the file or of its folder, as in
    ``nld/data.tsv``. Other fields, and white space around a sentence, are ignored.

    Args:
        path: The file or folder; files are UTF-8, plain or compressed (``.gz``, ``.xz``).
        languages: Languages to keep; None keeps all.

    Returns:
        The pairs in file order, files in the order of their names.

    Raises:
        ValueError: If a file is malformed or has no pairs, or a language has none. The message is
            one line with the file, the line number and the error.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; minimal pairs are packaged, or a file or folder")
    files = [path]
    if path.is_dir():
        names = tuple(f"{suffix}{packed}" for suffix in _SUFFIXES for packed in _PACKED)
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(names))
        if not files:
            raise ValueError(f"{path}: no {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]} file in this folder")
    return _of_languages(tuple(pair for file in files for pair in _read_file(file)), languages, str(path))


def _of_languages(
    pairs: tuple[MinimalPair, ...], languages: Collection[str] | None, source: str
) -> tuple[MinimalPair, ...]:
    if languages is None:
        return pairs
    existing = sorted({pair.language for pair in pairs} - {""})
    if missing := [language for language in languages if language not in existing]:
        raise ValueError(f"{source}: no pairs of the language {missing[0]}; {_listed(existing)}")
    return tuple(pair for pair in pairs if pair.language in languages)


def _listed(languages: Sequence[str]) -> str:
    return f"the languages are {', '.join(languages)}" if languages else f"no field is named {' or '.join(_LANGUAGES)}"


def _read_file(path: Path) -> tuple[MinimalPair, ...]:
    rows = _json_rows if ".jsonl" in path.suffixes else _csv_rows
    pairs = tuple(_pair(path, number, row) for number, row in rows(path, read_text(path)))
    if not pairs:
        raise ValueError(f"{path}:1: the file has no pairs")
    return pairs


# Yields each row with the number of its first line; a quoted field can span several lines.
def _csv_rows(path: Path, text: str) -> Iterator[Line]:
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    reader = csv.reader(io.StringIO(text), strict=True, delimiter=delimiter)
    header: list[str] | None = None
    start = 1
    try:
        for row in reader:
            if row and header is None:
                header = row
                _layout(path, start, header)
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
            raise ValueError(f"{path}:{number}: expected a JSON object with {BLIMP.good}, got {line[:40]}")
        _layout(path, number, list(row))
        yield number, row


def _layout(path: Path, number: int, names: Sequence[str]) -> Layout:
    """The format with these field names.

    Raises:
        ValueError: If a field is missing or occurs twice.
    """
    layout = MULTIBLIMP if MULTIBLIMP.good in names and BLIMP.good not in names else BLIMP
    if missing := [name for name in (layout.good, layout.bad) if name not in names]:
        existing = ", ".join(map(repr, names)) or "none"
        raise ValueError(f"{path}:{number}: no field {' and '.join(missing)}; the fields are {existing}")
    named = (layout.good, layout.bad, *layout.phenomena, *_LANGUAGES)
    if repeated := [name for name in named if names.count(name) > 1]:
        raise ValueError(f"{path}:{number}: the field {repeated[0]} occurs twice")
    return layout


def _pair(path: Path, number: int, row: Mapping[str, object]) -> MinimalPair:
    layout = _layout(path, number, list(row))
    good, bad = (_field(path, number, row, name) for name in (layout.good, layout.bad))
    if good == bad:
        raise ValueError(f"{path}:{number}: both sentences are {good!r}")
    phenomenon = _label(path, number, row, layout.phenomena) or "all"
    language = _label(path, number, row, _LANGUAGES)
    if not language and layout.by_language:
        codes = (path.name.partition(".")[0], path.absolute().parent.name)
        language = next((code for code in codes if re.fullmatch(r"[a-z]{2,3}", code)), "")
    return MinimalPair(good, bad, phenomenon, language)


def _label(path: Path, number: int, row: Mapping[str, object], names: Sequence[str]) -> str:
    """The first existing field of these names; empty if there is none.

    Raises:
        ValueError: If it is too long for the name of a metric.
    """
    name = next((name for name in names if name in row), None)
    label = "" if name is None else _field(path, number, row, name)
    if len(metric_name(label)) > LONGEST_LABEL:
        raise ValueError(f"{path}:{number}: {name} is longer than {LONGEST_LABEL} characters in the name of a metric")
    return label


def _field(path: Path, number: int, row: Mapping[str, object], name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise ValueError(f"{path}:{number}: {name} must be a string, got {value!r}")
    if not value.strip():
        raise ValueError(f"{path}:{number}: {name} is empty")
    return value.strip()
