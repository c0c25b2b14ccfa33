"""``sweep.json``: what the folder of a sweep says of it."""

from __future__ import annotations

from pathlib import Path

from keyneurons.artifacts.plain import Strict, read_json, validate
from keyneurons.atomic_files import write_json

SWEEP_FILE = "sweep.json"


class SweepFile(Strict):
    """A sweep: MLflow id (if any), store, overrides, and ``--config-dir``."""

    parent: str | None
    uri: str
    overrides: list[str]
    config_dir: str | None = None


def read_sweep_file(folder: Path) -> SweepFile:
    """What a sweep's folder says of it.

    Raises:
        ValueError: it is not the folder of a sweep, or its file is damaged.
    """
    try:
        return validate(SweepFile, read_json(folder / SWEEP_FILE), folder / SWEEP_FILE)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is not the folder of a sweep: it has no readable {SWEEP_FILE}") from error


def write_sweep_file(folder: Path, facts: SweepFile) -> None:
    """Keep what a sweep is in its folder."""
    write_json(folder / SWEEP_FILE, facts.model_dump())
