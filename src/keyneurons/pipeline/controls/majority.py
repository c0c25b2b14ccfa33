"""Control: how accurate is a constant prediction?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keyneurons.analysis.controls import majority_tag
from keyneurons.choices import ControlRole
from keyneurons.pipeline.controls.control import Case, Trial


@dataclass(frozen=True)
class Majority:
    """The most frequent tag of the train split, predicted for every word."""

    label: ClassVar[str] = "majority tag"
    contrast: ClassVar[str | None] = None
    role: ClassVar[ControlRole | None] = "form"

    def reads(self, n_key: int, n_neurons: int) -> int:
        """0: the control reads no neurons."""
        return 0

    def trains(self, n_key: int, n_neurons: int) -> tuple[int, int]:
        """No probe."""
        return 0, 0

    def __call__(self, case: Case) -> Trial:
        """Predict the tags of the test words."""
        train, test = case.labels.splits["train"], case.labels.splits["test"]
        return Trial(predictions=np.full(len(test.tags), majority_tag(train.tags), dtype=np.int64))
