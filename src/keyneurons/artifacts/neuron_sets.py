"""Key neurons out of a file that another run left."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.bound import Bound
from keyneurons.artifacts.key_neurons import read_key_neurons, sets_in
from keyneurons.records import NeuronSets


def read_neuron_sets(path: Path, read: ActivationReader, tag_column: str) -> NeuronSets:
    """The sets of a ``key_neurons.json``, if they are of the model, the site and the kind of tags that are read.

    Args:
        path: the file.
        read: reads the model's activations.
        tag_column: where the tags are from.

    Returns:
        The sets, over the layers that are read.

    Raises:
        ValueError: it is no such file, or of another model, tokenizer, site or tag column, or of layers that are not
            read.
    """
    bound, sets = sets_in(read_key_neurons(path))
    here = Bound.of(read, tag_column)
    for name in (field.name for field in fields(Bound)):
        if (found := getattr(bound, name)) != (value := getattr(here, name)):
            raise ValueError(f"{path} is bound to {name} {found}, this run has {value}")
    layers = {neuron.layer for own in sets.tags.values() for neuron in own}
    if missing := sorted(layers - set(read.layers)):
        raise ValueError(f"{path} has neurons of layer {missing[0]}, which is not read: layer={sorted(layers)}")
    return NeuronSets(read.site, read.layers, here.neurons_per_layer, sets.tags)
