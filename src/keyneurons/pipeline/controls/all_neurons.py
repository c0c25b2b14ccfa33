"""How much is there to be read at all?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keyneurons.pipeline.controls.control import Case, Trial


@dataclass(frozen=True)
class AllNeurons:
    """The probe on all neurons of the layers that are read."""

    label: ClassVar[str] = "all neurons"
    contrast: ClassVar[str | None] = None

    def reads(self, n_key: int, n_neurons: int) -> int:
        """Every one."""
        return n_neurons

    def __call__(self, case: Case) -> Trial:
        """One probe on all of them."""
        return Trial(np.arange(case.n_neurons)[None], shared=True)
