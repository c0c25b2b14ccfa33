"""What neuron sets are bound to: sets that differ in any of it are not the same things."""

from __future__ import annotations

from dataclasses import dataclass

from keyneurons.activations.reader import ActivationReader
from keyneurons.records import Site


@dataclass(frozen=True)
class Bound:
    """The model, the site and the kind of tags that neurons were selected for."""

    model: str
    revision: str
    tokenizer: str
    random_weights: bool
    site: Site
    neurons_per_layer: int
    tag_column: str

    @classmethod
    def of(cls, read: ActivationReader, tag_column: str) -> Bound:
        """What the neurons of a reader are bound to."""
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
        return f"{self.model}{' with random weights' if self.random_weights else ''}, {self.site}"
