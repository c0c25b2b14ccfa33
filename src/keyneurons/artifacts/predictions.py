"""``predictions.safetensors``: true and predicted tag of every test word, by the main probe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from safetensors import SafetensorError, safe_open

from keyneurons.analysis.run_differences import Predictions
from keyneurons.artifacts.plain import check_format
from keyneurons.atomic_files import check_regular, write_tensors

PREDICTIONS_FILE = "predictions.safetensors"
FORMAT = "1"
TYPES = {"word": "int32", "sentence": "int32", "true": "int16", "predicted": "int16"}


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the predictions of a run."""
    tensors = {name: torch.from_numpy(getattr(predictions, name).astype(kind)) for name, kind in TYPES.items()}
    write_tensors(path, tensors, {"format": FORMAT, "tags": json.dumps(predictions.tags), "text": predictions.text})


def read_predictions(path: Path) -> Predictions:
    """Read and validate the predictions of a run.

    Raises:
        ValueError: the file is damaged or of another version.
    """
    check_regular(path)
    try:
        with safe_open(path, framework="np") as file:
            facts = file.metadata() or {}
            check_format(facts.get("format"), FORMAT)
            columns = {name: file.get_tensor(name) for name in TYPES}
        tags, text = json.loads(facts["tags"]), facts["text"]
        _check(tags, columns)
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or from another version: {error}") from error
    return Predictions(tags=tuple(tags), text=text, **{name: own.astype(np.int64) for name, own in columns.items()})


def _check(tags: Any, columns: dict[str, Int[ndarray, " _words"]]) -> None:
    if not isinstance(tags, list) or not tags or not all(isinstance(tag, str) for tag in tags):
        raise ValueError(f"its tags are {tags!r}")
    if {values.shape for values in columns.values()} != {(len(columns["word"]),)} or not len(columns["word"]):
        raise ValueError(f"its columns have shapes {[values.shape for values in columns.values()]}")
    for name, values in columns.items():
        if str(values.dtype) != TYPES[name] or values.min() < 0:
            raise ValueError(f"{name} must be {TYPES[name]} and not negative, got {values.dtype}")
        if name in ("true", "predicted") and values.max() >= len(tags):
            raise ValueError(f"{name} must lie in 0..{len(tags) - 1}, got {values.max()}")
