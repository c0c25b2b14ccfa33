"""Provenance of a run as MLflow tags: model, data, main settings, process and code version."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyneurons.activations.reader import ActivationReader
from keyneurons.config.derived import derived_tag
from keyneurons.config.schema import Config
from keyneurons.pipeline.given_sets import GivenSets
from keyneurons.pipeline.key_neurons import Selection
from keyneurons.process_tag import process_tag
from keyneurons.version import __version__


def provenance(config: Config, choices: Mapping[str, str], read: ActivationReader) -> dict[str, str]:
    """The tags set at the start of a run, so that failed runs have them as well.

    Args:
        config: the validated configuration.
        choices: the option chosen in each config group.
        read: the reader of the run's activations.
    """
    return {
        "model": read.model.name,
        "model_revision": read.model.files.revision,
        "layer": ",".join(map(str, read.layers)),
        "site": config.site,
        **({"basis": read.basis.name} if read.basis_key else {}),
        "dataset": choices["dataset"],
        "selection": choices["selection"],
        "top_k": str(config.top_k),
        "batch_tokens": str(read.batch_tokens),
        "process": process_tag(),
        **derived_tag(config.derived),
        **code_tags(),
    }


def origin_tags(selection: Selection | GivenSets) -> dict[str, str]:
    """The origin of given sets; empty if the run selects its key neurons itself.

    ``source_neuron_sets`` is the tag ``neuron_sets`` of the run that selected them.
    """
    if isinstance(selection, Selection):
        return {}
    origin = selection.origin
    return {
        "source_revision": origin.revision,
        "source_method": origin.method,
        "source_dataset": origin.dataset,
        "source_digest": origin.digest,
        "source_neuron_sets": origin.neuron_sets,
    }


def code_tags() -> dict[str, str]:
    """The version and commit of this code, as tags."""
    return {"keyneurons_version": __version__, "git_commit": git_commit()}


def code_version(tags: Mapping[str, Any]) -> str:
    """The version and abbreviated commit of the code of a run, from its tags."""
    return f"{tags.get('keyneurons_version', 'unknown')} ({str(tags.get('git_commit', 'none'))[:8]})"


def git_commit() -> str:
    """Commit of this code's checkout, with ``+`` if modified, or ``none`` without a checkout."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout

    try:
        tracked = git("ls-files", Path(__file__).name)
        if not tracked:
            return "none"
        return git("rev-parse", "HEAD").strip() + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "none"
