"""The key neurons of a tag on the dev words: profiles and top words."""

from __future__ import annotations

from dataclasses import dataclass

from keyneurons.explore.loading import LoadedRun
from keyneurons.pipeline.neuron_profile import NeuronOnDev
from keyneurons.records import KeyNeuron


@dataclass(frozen=True)
class Profiled:
    """A key neuron of a tag with its rank and its profile; ``also`` are its other tags."""

    rank: int
    key: KeyNeuron
    name: str
    profile: NeuronOnDev
    also: tuple[str, ...]


def neuron_name(run: LoadedRun, neuron: KeyNeuron) -> str:
    """Name of a neuron as on the command line: site, layer and number."""
    return run.sets.name(neuron.layer, neuron.neuron)


def neurons_by_name(run: LoadedRun, tag: str) -> dict[str, KeyNeuron]:
    """The key neurons of a tag, strongest first, by name.

    Raises:
        ValueError: the run has no key neurons of the tag.
    """
    if tag not in run.tags_with_neurons:
        raise ValueError(
            f"The run has no key neurons of {tag[:80]!r}; it has those of {', '.join(run.tags_with_neurons)}."
        )
    return {neuron_name(run, neuron): neuron for neuron in run.sets.tags[tag]}


def other_tags(run: LoadedRun, neuron: KeyNeuron, tag: str) -> tuple[str, ...]:
    """The other tags that a neuron is a key neuron of."""
    place = neuron.layer, neuron.neuron
    return tuple(
        other for other, own in run.sets.tags.items() if other != tag and place in {(n.layer, n.neuron) for n in own}
    )
