"""A loaded run of a tiny model, without a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from models import sentences

from keyneurons.activations.reader import ActivationReader
from keyneurons.explore.loading import LoadedRun, NamedProbe
from keyneurons.pipeline.neuron_profile import DevText
from keyneurons.pipeline.probes import TrainedProbe
from keyneurons.records import KeyNeuron, LabelledWords, NeuronSets

TAGS = ("NOUN", "VERB")
NEURONS: Mapping[str, tuple[tuple[int, int], ...]] = {"NOUN": ((0, 3), (2, 30), (2, 7)), "VERB": ((2, 7),)}


def loaded_run(read: ActivationReader, run_id: str = "r1") -> LoadedRun:
    """A run at ``mlp`` of layers 0 and 2 with random probes; every word of dev has a tag."""
    width = read.model.width(read.site)
    tags = {
        tag: tuple(KeyNeuron(layer, n, 1.0 / (1 + i)) for i, (layer, n) in enumerate(own))
        for tag, own in NEURONS.items()
    }
    sets = NeuronSets(read.site, read.layers, width, tags)
    dev = tuple(replace(each, words=tuple(replace(w, upos="NOUN") for w in each.words)) for each in sentences())
    forms = tuple(word.form for each in dev for word in each.words)
    words = LabelledWords(np.arange(len(forms)), np.arange(len(forms)) % 2, forms)
    draw = torch.Generator().manual_seed(0)
    probes = tuple(
        NamedProbe(name, random_probe(columns, draw), 0.5)
        for name, columns in {
            "key neurons": sets.union(),
            "random neurons": [1, width, 2 * width - 4],
            "all neurons": list(range(width * len(read.layers))),
        }.items()
    )
    arrays = {layer: np.array(values) for layer, values in read(dev, "dev").items()}
    return LoadedRun("tiny", run_id, "correlation", read, sets, TAGS, probes, DevText(dev, TAGS, words), arrays, 0)


def random_probe(columns: list[int], draw: torch.Generator) -> TrainedProbe:
    n = len(columns)
    weight = torch.randn(n, len(TAGS), generator=draw)
    return TrainedProbe(np.array(columns), torch.randn(n, generator=draw), torch.ones(n), weight, torch.zeros(2))
