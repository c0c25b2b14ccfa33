"""Neuron sets that a configuration names: a file, the folder of a run, or a run id."""

from __future__ import annotations

from pathlib import Path

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.key_neurons import KEY_NEURONS_FILE, local_key_neurons, read_key_neurons, sets_in
from keyneurons.artifacts.neuron_sets import read_given_sets
from keyneurons.artifacts.run_files import sets_digest
from keyneurons.build.tracking import build_store
from keyneurons.config import outputs, schema
from keyneurons.digests import file_digest
from keyneurons.pipeline.given_sets import GivenSets, Origin
from keyneurons.selection.rules import Rule


def key_neurons_file(which: str | Path, tracking: outputs.Tracking) -> Path:
    """The ``key_neurons.json`` of a file, of the folder of a run, or of an MLflow run id.

    Raises:
        ValueError: there is none.
    """
    return local_key_neurons(which) or build_store(tracking).artifact(str(which), KEY_NEURONS_FILE)


def build_given_sets(which: str, config: schema.Config, read: ActivationReader) -> GivenSets:
    """The sets of ``selection=from_file``, checked against model, site and layers of this run.

    Raises:
        ValueError: the file is missing or damaged, or has other neurons than this run reads.
    """
    path = key_neurons_file(which, config.tracking)
    file = read_key_neurons(path)
    _, sets = sets_in(file)
    own = {
        "revision": file["model"]["revision"],
        "method": file["method"],
        "dataset": file["dataset"]["id"],
        "tag_column": file["tag_column"],
    }
    selected = file.get("source", own)  # given sets keep the selection that they come from
    origin = Origin(
        which, **{name: selected[name] for name in own}, digest=file_digest(path), neuron_sets=sets_digest(sets)
    )
    return GivenSets(read_given_sets(path, read), Rule(config.top_k, config.scope), origin)
