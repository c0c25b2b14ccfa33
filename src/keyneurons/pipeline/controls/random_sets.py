"""Would any other neurons do as well?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keyneurons.analysis.controls import matched_random_sets
from keyneurons.metrics import ADVANTAGE
from keyneurons.pipeline.controls.control import Case, Trial


@dataclass(frozen=True)
class RandomSets:
    """The probe on random sets with as many neurons in every layer as the key neurons have."""

    label: ClassVar[str] = "matched random sets"
    contrast: ClassVar[str | None] = ADVANTAGE

    sets: int

    def __post_init__(self) -> None:
        """Check the number of sets.

        Raises:
            ValueError: it is below 2, so that they have no spread.
        """
        if self.sets < 2:
            raise ValueError(f"sets must be at least 2, got {self.sets}")

    def reads(self, n_key: int, n_neurons: int) -> int:
        """As many as all sets have together."""
        return min(n_neurons, self.sets * n_key)

    def __call__(self, case: Case) -> Trial:
        """Draw the sets."""
        sets = case.sets
        columns = matched_random_sets(
            case.union.tolist(), sets.neurons_per_layer, len(sets.layers), self.sets, case.seed
        )
        return Trial(columns)
