"""The model, site, tag column and basis that neuron sets are bound to, and the model's lineage."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from keyneurons.activations.reader import ActivationReader
from keyneurons.basis import basis
from keyneurons.models.permuted import describe_model
from keyneurons.models.revisions import without_step
from keyneurons.records import Site


@dataclass(frozen=True)
class Units:
    """The basis that neuron sets are units of: its name and digest."""

    name: str
    digest: str

    def __str__(self) -> str:
        return self.name if self.name == self.digest else f"{self.name} {self.digest}"


NEURONS = Units(basis.NEURONS.name, basis.NEURONS.digest)


@dataclass(frozen=True)
class Lineage:
    """What the revisions of a model share; sets of one lineage are comparable.

    ``model`` is the model's id, without the step for a checkpoint in a folder.
    """

    model: str
    architecture: str
    tokenizer: str
    random_weights: int | None
    site: Site
    neurons_per_layer: int
    tag_column: str
    basis: Units = NEURONS

    @property
    def n_layers(self) -> int | None:
        """Number of blocks of the model; None if its architecture does not say."""
        match = re.search(r"num_hidden_layers=([0-9]+)", self.architecture)
        return None if match is None else int(match[1])

    def __str__(self) -> str:
        of_basis = "" if self.basis == NEURONS else f" {self.basis}"
        return f"{describe_model(self.model, self.random_weights)}, {self.site}{of_basis}"


@dataclass(frozen=True)
class Binding:
    """Model revision, site, tag column and basis of neuron sets."""

    model: str
    revision: str
    architecture: str
    tokenizer: str
    random_weights: int | None
    site: Site
    neurons_per_layer: int
    tag_column: str
    basis: Units = NEURONS

    @classmethod
    def of(cls, read: ActivationReader, tag_column: str) -> Binding:
        """The binding of the neurons that a reader reads."""
        model = read.model
        return cls(
            model.files.id,
            model.files.revision,
            model.architecture,
            model.tokenizer_digest,
            model.random_weights,
            read.site,
            read.units,
            tag_column,
            Units(read.basis.name, read.basis.digest),
        )

    @property
    def lineage(self) -> Lineage:
        """What this revision shares with the others of its model."""
        shared = {field.name: getattr(self, field.name) for field in fields(Lineage)}
        return Lineage(**{**shared, "model": without_step(self.model)})
