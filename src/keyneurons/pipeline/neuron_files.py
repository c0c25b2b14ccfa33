"""Key neurons out of a file that another run left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keyneurons.activations.reader import ActivationReader
from keyneurons.records import KeyNeuron, NeuronSets

FORMAT = 1


def read_neuron_sets(path: Path, read: ActivationReader) -> NeuronSets:
    """The sets of a ``key_neurons.json``, if they are of the model and the site that are read.

    Args:
        path: the file.
        read: reads the model's activations.

    Returns:
        The sets, over the layers that are read.

    Raises:
        ValueError: it is no such file, or of another model, tokenizer or site, or of layers that are not read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise ValueError(f"{path} has format {found['format']}, {FORMAT} is read")
        bound = _bound(found)
        tags = {
            tag: tuple(KeyNeuron(n["layer"], n["neuron"], n["score"]) for n in own)
            for tag, own in found["tags"].items()
        }
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a key_neurons.json: {error!r}") from error
    model = read.model
    here = {
        "model": model.files.id,
        "revision": model.files.revision,
        "tokenizer": model.tokenizer_digest,
        "random_weights": model.random_weights,
        "site": read.site,
        "neurons_per_layer": model.width(read.site),
    }
    for name, value in here.items():
        if bound[name] != value:
            raise ValueError(f"{path} is bound to {name} {bound[name]}, this run has {value}")
    layers = {neuron.layer for own in tags.values() for neuron in own}
    if missing := sorted(layers - set(read.layers)):
        raise ValueError(f"{path} has neurons of layer {missing[0]}, which is not read: layer={sorted(layers)}")
    return NeuronSets(read.site, read.layers, model.width(read.site), dict(sorted(tags.items())))


def _bound(found: dict[str, Any]) -> dict[str, Any]:
    model = found["model"]
    return {
        "model": model["id"],
        "revision": model["revision"],
        "tokenizer": model["tokenizer"],
        "random_weights": model["random_weights"],
        "site": found["site"],
        "neurons_per_layer": found["neurons_per_layer"],
    }
