"""Opens the MLflow run of any computation: seeds, configuration, tags and folder."""

from __future__ import annotations

import random
import shlex
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.plain import write_yaml
from keyneurons.atomic_files import write_text
from keyneurons.build.tracking import build_store
from keyneurons.config.schema import Config
from keyneurons.runs.provenance import provenance
from keyneurons.tracking import OpenRun, open_run, params_of


@dataclass(frozen=True)
class Heading:
    """Name, choices, parent and tags of a run.

    ``choices`` is the option chosen in each config group, ``parent`` the MLflow id of the sweep;
    ``tags`` are added to those of the provenance.
    """

    name: str
    choices: Mapping[str, str]
    parent: str | None = None
    tags: Mapping[str, str] | None = None


@contextmanager
def tracked(
    heading: Heading, config: Config, read: ActivationReader, folder: Path, written: Mapping[str, Any]
) -> Generator[OpenRun]:
    """Seed all random generators and open the MLflow run of a folder.

    Args:
        heading: name, choices, parent and tags of the run.
        config: the validated configuration.
        read: the reader of the run's activations.
        folder: the run's folder, which must exist.
        written: the configuration written to the folder.

    Yields:
        The open run; ``send`` ends it.
    """
    seed_everything(config.seed)
    read.bos_id()  # raises before the run is opened
    write_text(folder / "config.yaml", write_yaml(dict(written)))
    params_of(folder)  # raises for values that MLflow would truncate
    tags = provenance(config, heading.choices, read) | dict(heading.tags or {})
    facts = {"name": heading.name, "parent": heading.parent, "choices": dict(heading.choices), "tags": tags}
    with open_run(build_store(config.tracking), folder, facts, sample_system=config.tracking.system_metrics) as run:
        yield run


def seed_everything(seed: int) -> None:
    """Seed the global generators, which libraries may use; this package uses its own generators."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def how_to_send(folder: Path, uri: str) -> str:
    """The message for a run that was not sent because the tracking server was unreachable."""
    return (
        f"The tracking server {uri} is unreachable; send this run later with: keyneurons log {shlex.quote(str(folder))}"
    )


def shortest(folder: Path) -> Path:
    """The path of a folder, relative to the working directory if it is inside it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
