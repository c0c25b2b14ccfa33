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
    """The probe on random sets with as many neurons in each layer as there are key neurons.

    Sets are drawn from all neurons, or from the others with ``without_key``.
    """

    contrast: ClassVar[str | None] = ADVANTAGE
    role: ClassVar[ControlRole | None] = "random"

    sets: int
    without_key: bool = False

    @property
    def label(self) -> str:
        """Name in reports."""
        return f"matched random sets{', key neurons excluded' if self.without_key else ''}"

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

    def trains(self, n_key: int, n_neurons: int) -> tuple[int, int]:
        """Every random set has a probe."""
        return self.sets, n_key

    def __call__(self, case: Case) -> Trial:
        """Draw the random sets.

        Raises:
            NotApplicable: With ``without_key``, a layer has fewer other neurons than key neurons.
        """
        if self.without_key:
            case.check_others()
        key, sets = case.union.tolist(), case.sets
        columns = matched_random_sets(
            key, sets.neurons_per_layer, len(sets.layers), self.sets, case.seed, without=self.without_key
        )
        return Trial(columns)
