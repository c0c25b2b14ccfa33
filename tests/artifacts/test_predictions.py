"""Predictions of test words: read back as written, damage is reported."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from keyneurons.analysis.run_differences import Predictions
from keyneurons.artifacts.predictions import read_predictions, write_predictions
from keyneurons.atomic_files import write_tensors

OWN = Predictions(("A", "B"), *(np.array(own) for own in ([0, 2, 3], [0, 0, 1], [1, 0, 1], [1, 1, 0])), text="digest")


def test_they_are_read_back_as_written(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p", OWN)
    found = read_predictions(tmp_path / "p")
    for field in fields(Predictions):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(OWN, field.name))


def test_damaged_files_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "p"
    facts = {"format": "1", "tags": json.dumps(["A", "B"]), "text": "digest"}
    columns = {name: torch.tensor([0, 1]).to(torch.int32) for name in ("word", "sentence")}
    columns |= {name: torch.tensor([0, 1]).to(torch.int16) for name in ("true", "predicted")}
    wrong = {
        "format '2' is not supported, only 1": (columns, {**facts, "format": "2"}),
        "its tags are 3": (columns, {**facts, "tags": "3"}),
        "predicted must lie in 0..1, got 2": ({**columns, "predicted": columns["true"] + 1}, facts),
        "sentence must be int32 and not negative": ({**columns, "sentence": columns["sentence"] - 1}, facts),
        "its columns have shapes": ({**columns, "true": columns["true"][:1]}, facts),
        "text": (columns, {name: value for name, value in facts.items() if name != "text"}),
    }
    for message, (tensors, given) in wrong.items():
        write_tensors(path, tensors, given)
        with pytest.raises(ValueError, match=f"damaged or from another version: .*{message}"):
            read_predictions(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="is damaged"):
        read_predictions(path)
