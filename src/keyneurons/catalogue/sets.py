"""``key_neurons.csv`` and ``sets.safetensors``: the sets of a run in other formats."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from keyneurons.artifacts.key_neurons import basis_name
from keyneurons.artifacts.tables import write_table
from keyneurons.atomic_files import check_regular, write_tensors

TABLE_FILE = "key_neurons.csv"
TENSORS_FILE = "sets.safetensors"
COLUMNS = ("tag", "rank", "site", "layer", "basis", "neuron", "score", "p_value")

Contents = Mapping[str, Any]
"""The contents of ``key_neurons.json``."""


def write_sets(folder: Path, file: Contents) -> None:
    """Write the table and the tensors into a folder."""
    write_table(folder / TABLE_FILE, COLUMNS, list(_rows(file)))
    write_tensors(folder / TENSORS_FILE, _tensors(file), _facts(file))


def check_sets(folder: Path, file: Contents) -> None:
    """Check that the table and the tensors in a folder have the sets of ``key_neurons.json``.

    Raises:
        ValueError: if they are damaged or differ.
    """
    if _read_rows(folder / TABLE_FILE) != [[str(cell) for cell in row] for row in (COLUMNS, *_rows(file))]:
        raise ValueError(f"{folder / TABLE_FILE} and key_neurons.json differ")
    tensors, facts = _read_tensors(folder / TENSORS_FILE)
    expected = _tensors(file)
    same = tensors.keys() == expected.keys() and all(torch.equal(tensors[name], expected[name]) for name in expected)
    if not same or facts != _facts(file):
        raise ValueError(f"{folder / TENSORS_FILE} and key_neurons.json differ")


def _rows(file: Contents) -> Iterator[tuple[object, ...]]:
    place, basis = file["site"], basis_name(file)
    for tag, neurons in file["tags"].items():
        for rank, n in enumerate(neurons, start=1):
            p_value = n.get("p_value")
            yield tag, rank, place, n["layer"], basis, n["neuron"], n["score"], "" if p_value is None else p_value


def _tensors(file: Contents) -> dict[str, Tensor]:
    """For each tag, layer and number of its neurons, ``[neurons, 2]``, and their scores."""
    tensors = {}
    for tag, neurons in file["tags"].items():
        places = [[n["layer"], n["neuron"]] for n in neurons]
        tensors[f"neurons/{tag}"] = torch.tensor(places, dtype=torch.int64).reshape(len(neurons), 2)
        tensors[f"scores/{tag}"] = torch.tensor([n["score"] for n in neurons], dtype=torch.float64)
    return tensors


def _facts(file: Contents) -> dict[str, str]:
    """The metadata: a single entry, since safetensors writes several in any order."""
    names = ["model", "dataset", "tag_column", "site", "layers", "neurons_per_layer", "method"]
    names += ["basis"] if "basis" in file else []
    return {"key_neurons": json.dumps({**{name: file[name] for name in names}, "tags": list(file["tags"])})}


def _read_rows(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8", newline="") as text:
            return list(csv.reader(text, strict=True))
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys()}, tensors.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
