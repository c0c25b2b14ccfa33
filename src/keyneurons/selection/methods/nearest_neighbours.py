"""Mutual information of a neuron and a tag by nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.selection.scorer import checked_counts, wide


@dataclass(frozen=True)
class NearestNeighbourInformation:
    """Mutual information of a neuron and a tag against the rest without bins, in bits, never negative.

    ``psi(N) + psi(k) - mean psi(n_i) - mean psi(m_i)`` with n_i the words on the side of word i (tag or rest) and m_i
    those of both sides nearer to it than its k-th neighbour on its own side (Ross 2014, PLoS ONE 9:e87357), as
    scikit-learn's ``mutual_info_classif`` computes it: the reference for the estimate on bins, and slow by nature.
    So it sees a ``sample`` of the words: in proportion to the tags, but at least ``neighbours + 1`` words of each, or
    all it has, which a rare tag needs to have neighbours at all; those may come on top of ``sample``. A tag of one
    word has none and scores 0.

    It ignores scale, sign and shift of a neuron, the direction of the effect, and all other neurons; it is bounded by
    the entropy of the tag, so rare tags score low. Equal activations are parted by noise of 1e-10, the same for every
    neuron. A neuron that is constant over the sample scores 0.
    """

    neighbours: int = 3
    sample: int = 2000
    seed: int = 0
    per_neuron: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {self.neighbours}")
        if self.sample <= self.neighbours:
            raise ValueError(f"sample must be more words than neighbours={self.neighbours}, got {self.sample}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must lie in 0..{2**32 - 1}, got {self.seed}")

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Mutual information of every neuron and every tag, in bits; refuses what ``checked_counts`` refuses."""
        counts = checked_counts(values, tags, n_tags)
        words = self.sampled(tags.cpu(), counts.tolist()).to(values.device)
        sampled = wide(values[words])
        targets = (tags[words] == torch.arange(n_tags, device=tags.device)[:, None]).cpu().numpy()
        scores = sampled.new_zeros(n_tags, values.shape[1])
        varied = (sampled != sampled[0]).any(dim=0).nonzero().squeeze(1)
        for neuron in varied.tolist():
            column = sampled[:, neuron : neuron + 1].cpu().numpy()
            for tag, target in enumerate(targets):
                scores[tag, neuron] = self._nats(column, target)
        return scores / math.log(2)

    def sampled(self, tags: Int[Tensor, " words"], counts: list[int]) -> Int[Tensor, " sampled"]:
        """The words that are looked at, in ascending order; all, if they are no more than ``sample``."""
        order = torch.randperm(len(tags), generator=torch.Generator().manual_seed(self.seed))
        parts = []
        for tag, count in enumerate(counts):
            share = max(round(self.sample * count / len(tags)), self.neighbours + 1)
            parts.append(order[tags[order] == tag][:share])
        return torch.cat(parts).sort().values

    def _nats(self, column: Float[ndarray, "words 1"], target: Bool[ndarray, " words"]) -> float:
        """One neuron at a time, so that its noise does not depend on the neurons beside it."""
        from sklearn.feature_selection import mutual_info_classif

        found = mutual_info_classif(
            column, target, discrete_features=False, n_neighbors=self.neighbours, random_state=self.seed
        )
        return float(found[0])
