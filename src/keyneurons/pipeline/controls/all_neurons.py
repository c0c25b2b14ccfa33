"""Control: how much information do all neurons carry?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keyneurons.choices import ControlRole
from keyneurons.pipeline.controls.control import Case, Trial


@dataclass(frozen=True)
class AllNeurons:
    """The probe on all neurons of the layers read."""

    label: ClassVar[str] = "all neurons"
    contrast: ClassVar[str | None] = None
    role: ClassVar[ControlRole | None] = None

    def reads(self, n_key: int, n_neurons: int) -> int:
        """The number of all neurons."""
        return n_neurons

    def trains(self, n_key: int, n_neurons: int) -> tuple[int, int]:
        """A single probe."""
        return 1, n_neurons

    def __call__(self, case: Case) -> Trial:
        """Train one probe on all neurons.

        Raises:
            NotApplicable: Their activations are not stored.
        """
        case.check_stored()
        return Trial(np.arange(case.n_neurons)[None])
