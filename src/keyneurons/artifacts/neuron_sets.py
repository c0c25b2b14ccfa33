"""Key neurons out of a file that another run left."""

from __future__ import annotations

from pathlib import Path

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.key_neurons import read_key_neurons
from keyneurons.artifacts.run_sets import sets_in
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
    model = read.model
    here = {
        "model": model.files.id,
        "revision": model.files.revision,
        "tokenizer": model.tokenizer_digest,
        "random_weights": model.random_weights,
        "site": read.site,
        "neurons_per_layer": model.width(read.site),
        "tag_column": tag_column,
    }
    for name, value in here.items():
        if (found := getattr(bound, name)) != value:
            raise ValueError(f"{path} is bound to {name} {found}, this run has {value}")
    layers = {neuron.layer for own in sets.tags.values() for neuron in own}
    if missing := sorted(layers - set(read.layers)):
        raise ValueError(f"{path} has neurons of layer {missing[0]}, which is not read: layer={sorted(layers)}")
    return NeuronSets(read.site, read.layers, model.width(read.site), sets.tags)
