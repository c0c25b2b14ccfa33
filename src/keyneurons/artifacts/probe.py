"""``probe.safetensors``: the trained probe, with its tags and neurons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from keyneurons.atomic_files import write_tensors
from keyneurons.pipeline.probes import TrainedProbe
from keyneurons.records import NeuronSets

PROBE_FILE = "probe.safetensors"
TENSORS = ("weight", "bias", "mean", "std")


def write_probe(path: Path, probe: TrainedProbe, sets: NeuronSets, tags: Sequence[str], method: str) -> None:
    """Write a probe.

    Args:
        path: the file.
        probe: the probe.
        sets: neuron sets with the layers that the probe's columns refer to.
        tags: the tag of every output of the probe.
        method: name of the selection method.
    """
    width = sets.neurons_per_layer
    places = ",".join(f"{sets.layers[c // width]}.{c % width}" for c in probe.columns.tolist())
    facts = {"tags": json.dumps(tags), "site": sets.site, "method": method, "neurons": places}
    write_tensors(path, {name: getattr(probe, name).contiguous() for name in TENSORS}, facts)
