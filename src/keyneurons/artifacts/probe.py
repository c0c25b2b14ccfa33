"""``probe.safetensors``: the trained probe, with its tags and neurons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from keyneurons.atomic_files import check_regular, write_tensors
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


def read_probe(path: Path, sets: NeuronSets, tags: Sequence[str]) -> TrainedProbe:
    """Read the probe on the key neurons of all tags.

    Args:
        path: the file.
        sets: the key neurons that the probe must have as its features.
        tags: the tags that it must predict, in order.

    Returns:
        The probe; its columns refer to the layers of the sets.

    Raises:
        ValueError: the file is damaged, or has other neurons, tags or sizes.
    """
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in TENSORS}
        named, places = json.loads(facts["tags"]), [each.split(".") for each in facts["neurons"].split(",")]
        columns = [sets.layers.index(int(layer)) * sets.neurons_per_layer + int(neuron) for layer, neuron in places]
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    if named != list(tags) or facts["site"] != sets.site or columns != sets.union():
        raise ValueError(f"{path} and key_neurons.json differ in site, tags or neurons")
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    n, n_tags = len(columns), len(tags)
    if shapes != (expected := {"weight": (n, n_tags), "bias": (n_tags,), "mean": (n,), "std": (n,)}):
        raise ValueError(f"{path} is damaged: its tensors have shapes {shapes}, expected {expected}")
    return TrainedProbe(np.array(columns, dtype=np.int64), **tensors)
