"""``redundancy.json``: clusters of key neurons, effective dimensions, and angles between tags."""

from __future__ import annotations

from pathlib import Path

from keyneurons.analysis.redundancy import Redundancy
from keyneurons.atomic_files import write_json
from keyneurons.records import NeuronSets

REDUNDANCY_FILE = "redundancy.json"


def write_redundancy(path: Path, redundant: Redundancy, sets: NeuronSets) -> None:
    """Write clusters of key neurons, each with its representative first, and angles in degrees."""
    width = sets.neurons_per_layer
    facts = {
        "clusters": [
            [{"layer": sets.layers[column // width], "neuron": column % width} for column in cluster]
            for cluster in redundant.clusters
        ],
        "effective_dimension": redundant.effective_dimension,
        "effective_dimension_by_tag": dict(redundant.effective_dimension_by_tag),
        "angles": [{"tags": list(pair), "degrees": list(angles)} for pair, angles in redundant.angles.items()],
    }
    write_json(path, facts)
