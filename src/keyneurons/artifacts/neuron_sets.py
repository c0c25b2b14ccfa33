"""Reading the key neurons of another run."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.bound import Binding
from keyneurons.artifacts.key_neurons import read_key_neurons, sets_in
from keyneurons.records import NeuronSets


def read_neuron_sets(path: Path, read: ActivationReader, tag_column: str) -> NeuronSets:
    """Read the sets of a ``key_neurons.json`` and check that they fit this run.

    Args:
        path: the file.
        read: reads the model's activations.
        tag_column: column of the tags.

    Returns:
        The sets, over the layers that are read.

    Raises:
        ValueError: the file is invalid, belongs to another model, tokenizer, site or tag column, or
            has neurons of layers that are not read.
    """
    bound, sets = sets_in(read_key_neurons(path))
    own = Binding.of(read, tag_column)
    for name in (field.name for field in fields(Binding)):
        if (theirs := getattr(bound, name)) != (value := getattr(own, name)):
            raise ValueError(f"{path} is bound to {name} {theirs}, this run has {value}")
    layers = {neuron.layer for neurons in sets.tags.values() for neuron in neurons}
    if missing := sorted(layers - set(read.layers)):
        raise ValueError(
            f"{path} has neurons of layer {missing[0]}, which this run does not read; use layer={sorted(layers)}"
        )
    return NeuronSets(read.site, read.layers, own.neurons_per_layer, sets.tags)
