"""``probe.safetensors``: the trained probe, with its tags and neurons."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from keyneurons.artifacts.bound import NEURONS
from keyneurons.atomic_files import check_regular, write_tensors
from keyneurons.pipeline.probes import TrainedProbe
from keyneurons.records import NeuronSets, Site

PROBE_FILE = "probe.safetensors"
TENSORS = ("weight", "bias", "mean", "std")
_NEURON = re.compile(r"([0-9]{1,6})\.([0-9]{1,9})")


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
    if sets.basis != NEURONS.name:
        facts["basis"] = sets.basis
    write_tensors(path, {name: getattr(probe, name).contiguous() for name in TENSORS}, facts)


@dataclass(frozen=True)
class ReadProbe:
    """A probe from a file: the tags of its outputs, and layer and number of its input neurons.

    The columns of ``probe`` are numbered in the order of ``neurons``.
    """

    tags: tuple[str, ...]
    neurons: tuple[tuple[int, int], ...]
    probe: TrainedProbe
    basis: str


def read_probe(path: Path, site: Site) -> ReadProbe:
    """Read a probe.

    Args:
        path: the file.
        site: the site that its neurons must have.

    Raises:
        ValueError: the file is missing, damaged or of another site.
    """
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            facts, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in TENSORS}
        tags = json.loads(facts["tags"])
        places = [_NEURON.fullmatch(text) for text in facts["neurons"].split(",")]
        neurons = tuple((int(place[1]), int(place[2])) for place in places if place is not None)
        if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)) or len(neurons) < len(places):
            raise ValueError("tags or neurons are unreadable")
        n, shapes = len(neurons), {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if shapes != {"weight": (n, len(tags)), "bias": (len(tags),), "mean": (n,), "std": (n,)}:
            raise ValueError(f"its tensors of {n} neurons and {len(tags)} tags have the shapes {shapes}")
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError("a value is not finite")
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    if facts["site"] != site:
        raise ValueError(f"{path} has neurons of {facts['site']}, expected {site}")
    return ReadProbe(tuple(tags), neurons, TrainedProbe(np.arange(n), **tensors), facts.get("basis", NEURONS.name))


def read_probe_of(sets: NeuronSets, tags: Sequence[str], path: Path) -> TrainedProbe:
    """Read the probe on the key neurons of all tags.

    Args:
        sets: the key neurons that the probe must have as its features.
        tags: the tags that it must predict, in order.
        path: the file.

    Returns:
        The probe; its columns refer to the layers of the sets.

    Raises:
        ValueError: the file is damaged, or has other neurons or tags.
    """
    own = read_probe(path, sets.site)
    columns = [
        sets.layers.index(layer) * sets.neurons_per_layer + neuron
        for layer, neuron in own.neurons
        if layer in sets.layers
    ]
    if (own.tags, own.basis) != (tuple(tags), sets.basis) or columns != sets.union():
        raise ValueError(f"{path} and key_neurons.json differ in site, basis, tags or neurons")
    return replace(own.probe, columns=np.array(columns, dtype=np.int64))
