"""Random scores: a control for all methods."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.selection.moment_scorer import MomentScorer
from keyneurons.selection.moments import Moments


@dataclass(frozen=True)
class Random(MomentScorer):
    """Uniform random numbers between 0 and 1 for every tag and neuron.

    They depend on the seed and the word counts of the tags, so that other words give other numbers.
    A constant neuron scores 0, as in every method.
    """

    seed: int = 0

    def of_moments(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """A random number for every tag and neuron."""
        entropy = np.random.SeedSequence([self.seed, *moments.counts.tolist()])
        generator = torch.Generator().manual_seed(int(entropy.generate_state(1, np.uint64)[0]))
        drawn = torch.rand(moments.sums.shape, generator=generator, dtype=torch.float64)
        return drawn.to(moments.sums).masked_fill(moments.constant, 0.0)
