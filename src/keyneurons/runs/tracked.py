"""An MLflow run around a computation: opened in one way, whatever is computed."""

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
    """What a run is called and belongs to.

    ``choices`` has the option chosen in each config group, ``parent`` is the MLflow id of its sweep, ``tags`` are added
    to those of its provenance.
    """

    name: str
    choices: Mapping[str, str]
    parent: str | None = None
    tags: Mapping[str, str] | None = None


@contextmanager
def tracked(
    heading: Heading, config: Config, read: ActivationReader, folder: Path, written: Mapping[str, Any]
) -> Generator[OpenRun]:
    """Seed every generator and open the MLflow run of a folder.

    Args:
        heading: name, choices and tags of the run.
        config: the checked configuration.
        read: the reader of its activations.
        folder: its own folder, which is there.
        written: the configuration that the folder keeps.

    Yields:
        The open run; ``send`` ends it.
    """
    seed_everything(config.seed)
    read.bos_id()  # refused before a run is opened
    write_text(folder / "config.yaml", write_yaml(dict(written)))
    params_of(folder)  # a value that MLflow would cut is refused now
    tags = provenance(config, heading.choices, read) | dict(heading.tags or {})
    facts = {"name": heading.name, "parent": heading.parent, "choices": dict(heading.choices), "tags": tags}
    with open_run(build_store(config.tracking), folder, facts) as run:
        yield run


def seed_everything(seed: int) -> None:
    """Seed every generator that a library might draw from; our own draws are seeded where they are made."""
    random.seed(seed)
    np.random.seed(seed)  # for libraries that use the global generator
    torch.manual_seed(seed)


def how_to_send(folder: Path, uri: str) -> str:
    """What to do with a run that the tracking server did not take."""
    return f"The tracking server {uri} is away; send this run later with: keyneurons log {shlex.quote(str(folder))}"


def shortest(folder: Path) -> Path:
    """A folder's path from the working directory, where it is below it."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
