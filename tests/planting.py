"""Synthetic activations: noise in two layers with one planted neuron per tag; key neurons."""

from __future__ import annotations

import numpy as np

from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.control import Case
from keyneurons.pipeline.key_neurons import Reselection, Selection
from keyneurons.pipeline.scored_words import ScoredWords
from keyneurons.records import SPLITS, KeyNeuron, LabelledWords, Labels, NeuronSets
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.rules import Rule

NAMES = ("ADJ", "NOUN", "VERB")
LAYERS, WIDTH = (1, 4), 30
PLANTED = {"ADJ": (1, 7), "NOUN": (4, 0), "VERB": (4, 29)}
KEY_SETS = NeuronSets(
    "mlp", LAYERS, WIDTH, {tag: (KeyNeuron(*place, 1.0), KeyNeuron(4, 11, 0.5)) for tag, place in PLANTED.items()}
)
SENTENCES = np.arange(600) // 10


def planted(strength: float, seed: int = 0) -> tuple[StoredActivations, Labels]:
    """Train, dev and test splits of 600 tagged words each, in sentences of ten words."""
    rng = np.random.default_rng(seed)
    arrays, labelled = {}, {}
    for split in SPLITS:
        tags = rng.integers(0, 3, 600)
        values = {layer: rng.normal(size=(600, WIDTH)).astype(np.float16) for layer in LAYERS}
        for i, name in enumerate(NAMES):
            layer, neuron = PLANTED[name]
            values[layer][tags == i, neuron] += strength
        arrays[split] = values
        labelled[split] = LabelledWords(np.arange(600), tags, tuple(f"w{word % 50}" for word in range(600)))
    return StoredActivations(arrays, "mlp"), Labels("upos", NAMES, labelled)


def reselection(activations: StoredActivations, labels: Labels, k: int = 2) -> Reselection:
    """Selects by correlation, k neurons for each tag."""
    selection = Selection(Correlation(), Rule(k, "model"), 0, "like_length", 2**24, 0)
    sentences = np.arange(len(labels.splits["train"].rows)) // 10
    return Reselection(selection, ScoredWords(activations, labels, sentences), activations)


def case(seed: int = 0, labels: Labels | None = None) -> Case:
    """The planted neurons as key neurons, with the given labels or the synthetic ones."""
    activations, own = planted(3.0)
    labels = labels or own
    sentences = np.arange(len(labels.splits["test"].rows)) // 10
    return Case(labels, activations, KEY_SETS, sentences, seed, reselection(activations, labels))
