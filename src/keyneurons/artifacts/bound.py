"""The model, site and tag column that neuron sets are bound to."""

from __future__ import annotations

from dataclasses import dataclass

from keyneurons.activations.reader import ActivationReader
from keyneurons.models.permuted import describe_model
from keyneurons.records import Site


@dataclass(frozen=True)
class Binding:
    """Model, site and tag column of neuron sets; only sets with equal bindings are comparable."""

    model: str
    revision: str
    tokenizer: str
    random_weights: int | None
    site: Site
    neurons_per_layer: int
    tag_column: str

    @classmethod
    def of(cls, read: ActivationReader, tag_column: str) -> Binding:
        """The binding of the neurons that a reader reads."""
        model = read.model
        return cls(
            model.files.id,
            model.files.revision,
            model.tokenizer_digest,
            model.random_weights,
            read.site,
            model.width(read.site),
            tag_column,
        )

    def __str__(self) -> str:
        return f"{describe_model(self.model, self.random_weights)}, {self.site}"
