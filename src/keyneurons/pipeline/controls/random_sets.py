"""Control: do random neurons predict the tags as well?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from keyneurons.analysis.controls import matched_random_sets
from keyneurons.choices import ControlRole
from keyneurons.metrics import ADVANTAGE
from keyneurons.pipeline.controls.control import Case, Trial


@dataclass(frozen=True)
class RandomSets:
    """The probe on random sets with as many neurons in each layer as there are key neurons."""

    label: ClassVar[str] = "matched random sets"
    contrast: ClassVar[str | None] = ADVANTAGE
    role: ClassVar[ControlRole | None] = "random"

    sets: int

    def __post_init__(self) -> None:
        """Check the number of sets.

        Raises:
            ValueError: There are fewer than 2 sets, which have no standard deviation.
        """
        if self.sets < 2:
            raise ValueError(f"sets must be at least 2, got {self.sets}")

    def reads(self, n_key: int, n_neurons: int) -> int:
        """The number of neurons of all sets together, at most all neurons."""
        return min(n_neurons, self.sets * n_key)

    def __call__(self, case: Case) -> Trial:
        """Draw the random sets."""
        sets = case.sets
        columns = matched_random_sets(
            case.union.tolist(), sets.neurons_per_layer, len(sets.layers), self.sets, case.seed
        )
        return Trial(columns)
