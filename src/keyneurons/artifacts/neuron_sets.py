"""Reading the key neurons of another run."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.bound import Binding, Lineage
from keyneurons.artifacts.key_neurons import read_key_neurons, sets_in
from keyneurons.records import NeuronSets


def read_neuron_sets(path: Path, read: ActivationReader, tag_column: str, *, any_revision: bool = False) -> NeuronSets:
    """Read the sets of a ``key_neurons.json`` and check that they fit this run.

    Args:
        path: the file.
        read: reads the model's activations.
        tag_column: column of the tags.
        any_revision: whether the sets may be of another revision of the model.

    Returns:
        The sets, over the layers that are read.

    Raises:
        ValueError: the file is invalid, belongs to another model, tokenizer, site or tag column, or
            has neurons of layers that are not read.
    """
    bound, sets = sets_in(read_key_neurons(path))
    own = Binding.of(read, tag_column)
    if any_revision:
        _check_bound(path, bound.lineage, own.lineage)
    else:
        _check_bound(path, bound, own)
    layers = {neuron.layer for neurons in sets.tags.values() for neuron in neurons}
    if missing := sorted(layers - set(read.layers)):
        raise ValueError(
            f"{path} has neurons of layer {missing[0]}, which this run does not read; use layer={sorted(layers)}"
        )
    return replace(sets, layers=read.layers)


def read_given_sets(path: Path, read: ActivationReader) -> NeuronSets:
    """Read the sets of a ``key_neurons.json`` of any tag column as the key neurons of this run.

    The sets may be of another revision of the model.

    Raises:
        ValueError: the file is invalid, or belongs to another model, tokenizer, site or layers.
    """
    bound, sets = sets_in(read_key_neurons(path))
    _check_bound(path, bound.lineage, Binding.of(read, bound.tag_column).lineage)
    if sets.layers != read.layers:
        raise ValueError(
            f"{path} has key neurons of {_layer_override(sets.layers)}, this run reads "
            f"{_layer_override(read.layers)}; add {_layer_override(sets.layers)}"
        )
    return sets


def other_revision(path: Path, read: ActivationReader) -> str | None:
    """The model revision of the sets of a file; None if it is the revision that is read."""
    bound, _ = sets_in(read_key_neurons(path))
    return None if bound.revision == read.model.files.revision else bound.revision


def _layer_override(layers: tuple[int, ...]) -> str:
    return f"layer={layers[0]}" if len(layers) == 1 else f"layer=[{','.join(map(str, layers))}]"


def _check_bound(path: Path, bound: Binding | Lineage, own: Binding | Lineage) -> None:
    for name in sorted((field.name for field in fields(own)), key=lambda name: name != "basis"):  # explains the width
        if (theirs := getattr(bound, name)) != (value := getattr(own, name)):
            raise ValueError(f"{path} is bound to {name} {theirs}, this run has {value}")
