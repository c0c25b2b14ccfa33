"""Control: how much do as many principal components tell as there are key neurons?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.analysis.axes import principal_axes
from keyneurons.choices import ControlRole
from keyneurons.pipeline.controls.control import Case, NotApplicable, Trial
from keyneurons.records import SPLITS, Split


@dataclass(frozen=True)
class PrincipalComponents:
    """The probe on principal components, as many of each layer as it has key neurons.

    The components are fitted on the train words of one layer at a time, without tags, on
    standardised activations, as the probe sees them: otherwise a few neurons of huge variance would
    be the components. Neurons that are constant in train are excluded. For the exact and the
    approximate solution see ``principal_axes``. Memory: one layer of all splits in float32, twice.
    """

    label: ClassVar[str] = "principal components"
    contrast: ClassVar[str | None] = None
    role: ClassVar[ControlRole | None] = None

    def reads(self, n_key: int, n_neurons: int) -> int:
        """All neurons of the layers read."""
        return n_neurons

    def trains(self, n_key: int, n_neurons: int) -> tuple[int, int]:
        """A single probe on the components."""
        return 1, n_key

    def __call__(self, case: Case) -> Trial:
        """Fit the components and compute their scores for the words of every split.

        Raises:
            NotApplicable: A layer has fewer components than key neurons, or the activations are not
                stored.
        """
        case.check_stored()
        scores = [_scores(case, i, int(n)) for i, n in enumerate(case.n_key) if n]
        features: dict[Split, Float[Tensor, "_words _columns"]] = {
            split: torch.cat([own[split] for own in scores], dim=1) for split in SPLITS if scores
        }
        return Trial(np.arange(len(case.union))[None], features=features or None)


def _scores(case: Case, place: int, n: int) -> dict[Split, Float[Tensor, "_words components"]]:
    """Scores of the words on the first n components of one layer.

    Raises:
        NotApplicable: The layer has fewer components.
    """
    values = case.standardised(place)
    varying = values["train"].any(dim=0)
    if n > (rank := min(int(varying.sum()), len(values["train"]) - 1)):
        raise NotApplicable(f"layer {case.sets.layers[place]} has {rank} components for {n} key neurons")
    axes = torch.zeros(len(varying), n)
    axes[varying] = principal_axes(values["train"][:, varying], n, case.seed)
    return {split: own @ axes for split, own in values.items()}
