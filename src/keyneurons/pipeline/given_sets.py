"""Key neurons that are given in a file instead of selected by a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from keyneurons.records import KeyNeuron, NeuronSets
from keyneurons.selection.rules import Rule


@dataclass(frozen=True)
class Origin:
    """Where given sets come from.

    ``name`` is the file or run as configured. ``revision`` (of the model), ``method``, ``dataset``
    and ``tag_column`` are those of the run that selected the sets. ``digest`` is the file's,
    ``neuron_sets`` that of its sets, as in the tag of the same name of the run that wrote the file.
    """

    name: str
    revision: str
    method: str
    dataset: str
    tag_column: str
    digest: str
    neuron_sets: str


@dataclass(frozen=True)
class GivenSets:
    """Given sets of every tag, over the layers that are read, and the rule that limits their size.

    Only ``top_k`` and ``scope`` of the rule apply.
    """

    sets: NeuronSets
    rule: Rule
    origin: Origin

    def of_tags(self, names: Sequence[str]) -> NeuronSets:
        """The sets of these tags, each cut to its strongest neurons; tags without a set get none.

        Raises:
            ValueError: No given set of these tags has a neuron.
        """
        tags = {name: self._strongest(self.sets.tags.get(name, ())) for name in sorted(names)}
        if not any(tags.values()):
            raise ValueError(
                f"{self.origin.name} has key neurons of {self.origin.tag_column} "
                f"{', '.join(tag for tag in self.sets if self.sets.tags[tag]) or 'none'}; "
                f"the text has {', '.join(names)}"
            )
        return replace(self.sets, tags=tags)

    def dropped(self, names: Sequence[str]) -> tuple[str, ...]:
        """The tags with a set that are not among these tags."""
        return tuple(tag for tag in self.sets if tag not in names)

    def cut(self, names: Sequence[str]) -> tuple[str, ...]:
        """The tags whose set has more neurons than the rule allows."""
        given = {tag: self.sets.tags[tag] for tag in names if tag in self.sets.tags}
        return tuple(tag for tag, neurons in given.items() if len(self._strongest(neurons)) < len(neurons))

    def _strongest(self, neurons: Sequence[KeyNeuron]) -> tuple[KeyNeuron, ...]:
        """The strongest neurons in each layer, or over all layers; ties stay in the given order."""
        ordered = sorted(neurons, key=lambda neuron: -abs(neuron.score))
        if self.rule.scope == "model":
            return tuple(ordered[: self.rule.top_k])
        rank = {layer: iter(range(len(ordered))) for layer in self.sets.layers}
        return tuple(neuron for neuron in ordered if next(rank[neuron.layer]) < self.rule.top_k)
