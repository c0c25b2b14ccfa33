"""Control: do neurons of high variance, chosen without tags, predict the tags as well?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from keyneurons.choices import ControlRole
from keyneurons.pipeline.controls.control import Case, Trial


@dataclass(frozen=True)
class TopVariance:
    """The probe on the neurons of highest variance, as many per layer as there are key neurons.

    The variance is over the labelled train words; ties go to the lower neuron. With
    ``without_key`` the key neurons are excluded.
    """

    contrast: ClassVar[str | None] = None

    without_key: bool = False

    @property
    def label(self) -> str:
        """Name in reports."""
        return f"neurons of highest variance{', key neurons excluded' if self.without_key else ''}"

    @property
    def role(self) -> ControlRole | None:
        """``label_free``; None without key neurons, since that set is not the best without tags."""
        return None if self.without_key else "label_free"

    def reads(self, n_key: int, n_neurons: int) -> int:
        """The number of key neurons: of other neurons only the variance is computed."""
        return min(n_key, n_neurons)

    def __call__(self, case: Case) -> Trial:
        """Rank the neurons of each layer by variance.

        Raises:
            NotApplicable: With ``without_key``, a layer has fewer other neurons than key neurons.
        """
        variance = case.variance.copy()
        if self.without_key:
            case.check_others()
            variance.reshape(-1)[case.union] = -1.0
        ranked = np.argsort(-variance, axis=1, kind="stable")
        chosen = [np.sort(row[:n]) + i * len(row) for i, (row, n) in enumerate(zip(ranked, case.n_key, strict=True))]
        columns = np.concatenate(chosen)
        if self.without_key:
            return Trial(columns[None])
        shared = len(np.intersect1d(columns, case.union))
        note = f"{shared} of {len(columns)} are key neurons"
        return Trial(columns[None], facts={"shared_neurons": float(shared)}, note=note)
