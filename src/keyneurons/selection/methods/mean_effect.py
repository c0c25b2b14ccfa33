"""Mean effect of ablations of a neuron on the words of a tag."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from keyneurons.selection.interface import Traits
from keyneurons.selection.moment_scorer import MomentScorer
from keyneurons.selection.moments import Moments


@dataclass(frozen=True)
class MeanEffect(MomentScorer):
    """Mean effect of a neuron's ablation over the words of a tag, signed, in units of the target.

    Ignores the variance of the effects and other tags. There are no p-values: almost every neuron
    has some effect, and a neuron that every word needs has a large one for every tag.
    """

    @property
    def traits(self) -> Traits:
        """Not permutable: neurons that all words need would dominate the null."""
        return replace(super().traits, permutable=False)

    def of_moments(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """Mean of every neuron for every tag."""
        return moments.means()
