"""Nearest-neighbour estimate of the mutual information of a neuron and a tag."""

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
    """Nearest-neighbour estimate of the mutual information of a neuron and a tag, in bits.

    ``psi(N) + psi(k) - mean psi(n_i) - mean psi(m_i)`` with n_i the number of words in the class of
    word i (tag or rest) and m_i the number of words of both classes nearer to it than its k-th
    neighbour in its own class (Ross 2014, PLoS ONE 9:e87357), as computed by scikit-learn's
    ``mutual_info_classif``; never negative. It needs no bins and serves as reference for the binned
    estimate, but is slow. It therefore uses a ``sample`` of the words, in proportion to the tags
    but with at least ``neighbours + 1`` words of each tag, or all of its words, so that rare tags
    have neighbours; the sample may thus exceed ``sample``. A tag with one word scores 0.

    Invariant to scale, sign and shift of a neuron, so it ignores the direction of the effect;
    independent of other neurons. Bounded by the entropy of the tag, so rare tags have low scores.
    Noise of 1e-10, the same for every neuron, breaks ties. A neuron that is constant over the
    sample scores 0.
    """

    neighbours: int = 3
    sample: int = 2000
    seed: int = 0
    per_neuron: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {self.neighbours}")
        if self.sample <= self.neighbours:
            raise ValueError(f"sample must be greater than neighbours={self.neighbours}, got {self.sample}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must lie in 0..{2**32 - 1}, got {self.seed}")

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Mutual information of every neuron and tag, in bits; errors as in ``checked_counts``."""
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
        """Ascending indices of the sampled words; all words, if there are at most ``sample``."""
        order = torch.randperm(len(tags), generator=torch.Generator().manual_seed(self.seed))
        parts = []
        for tag, count in enumerate(counts):
            share = max(round(self.sample * count / len(tags)), self.neighbours + 1)
            parts.append(order[tags[order] == tag][:share])
        return torch.cat(parts).sort().values

    def _nats(self, column: Float[ndarray, "words 1"], target: Bool[ndarray, " words"]) -> float:
        """Information of one neuron; separate calls make its noise independent of other neurons."""
        from sklearn.feature_selection import mutual_info_classif

        information = mutual_info_classif(
            column, target, discrete_features=False, n_neighbors=self.neighbours, random_state=self.seed
        )
        return float(information[0])
