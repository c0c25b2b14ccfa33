"""Mutual information of a binned neuron and a tag."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.scorer import checked_counts


@dataclass(frozen=True)
class MutualInformation:
    """Mutual information of a neuron's equal-frequency bin and a tag against the rest, in bits.

    The plug-in estimate ``I = sum_by p(b,y) log2(p(b,y) / (p(b) p(y)))`` with ``bins`` bins, never
    negative. ``miller_madow`` subtracts its bias ``(B-1)(K-1) / 2N`` nats with K=2 and B the number
    of non-empty bins (Miller 1955); negative estimates become 0. Invariant to monotone
    transformations of a neuron (scale, sign, shift), so it also ignores the direction of the
    effect; independent of other neurons. Bounded by the entropy of the tag, so rare tags have low
    scores. A constant neuron scores 0.
    """

    bins: int = 16
    miller_madow: bool = False
    per_neuron: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ValueError(f"bins must be at least 2, got {self.bins}")

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Mutual information of every neuron and tag, in bits; errors as in ``checked_counts``."""
        nats, used = self._estimate(values, tags, n_tags)
        return self._bits(nats, used, len(tags))

    def test(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
        """G-test of independence on the plug-in estimate.

        ``G = 2 N I`` with I in nats follows chi-squared with B-1 degrees of freedom, B the number
        of non-empty bins (Wilks 1938). The approximation needs about five words of the tag in every
        bin; words are assumed independent.

        Returns:
            The scores and their p-values.
        """
        from scipy.special import gammaincc

        nats, used = self._estimate(values, tags, n_tags)
        half_degrees = (used - 1).clamp(min=1).cpu().double().numpy() / 2  # one bin: I = 0, so p = 1 for any value
        p_values = gammaincc(half_degrees, len(tags) * nats.cpu().double().numpy())
        return self._bits(nats, used, len(tags)), torch.from_numpy(p_values).to(nats)

    def _estimate(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> tuple[Float[Tensor, "tags neurons"], Int[Tensor, " neurons"]]:
        """Plug-in information in nats, and the number of non-empty bins."""
        checked_counts(values, tags, n_tags)
        binned = equal_frequency_bins(values, self.bins)
        counts = _joint_counts(binned, tags, self.bins, n_tags)
        return _information(counts), (counts.sum(dim=2) > 0).sum(dim=1)

    def _bits(
        self, nats: Float[Tensor, "tags neurons"], used: Int[Tensor, " neurons"], n_words: int
    ) -> Float[Tensor, "tags neurons"]:
        if self.miller_madow:
            nats = (nats - (used - 1) / (2 * n_words)).clamp(min=0)
        return nats / math.log(2)


def equal_frequency_bins(values: Num[Tensor, "words neurons"], bins: int) -> Int[Tensor, "words neurons"]:
    """Bin the values of each column: ``floor(bins * (words with a smaller value) / words)``.

    Without ties each bin has ``words / bins`` words; equal values share a bin, which can leave
    later bins empty.

    Returns:
        The bin of every value, in ``0..bins-1``.
    """
    narrow = values.float() if values.dtype in (torch.float16, torch.bfloat16) else values  # exact, and sorts faster
    rows = narrow.T.contiguous()
    edges = -(torch.arange(1, bins, device=values.device) * len(values) // -bins) - 1
    lower = _sorted(rows)[:, edges].contiguous()  # a value above edge k has at least k / bins of the words below it
    return torch.searchsorted(lower, rows).T


def _sorted(rows: Num[Tensor, "neurons words"]) -> Num[Tensor, "neurons words"]:
    """Sort every row; on the CPU with numpy, which unlike torch computes no indices."""
    if rows.device.type == "cpu":
        return torch.from_numpy(np.sort(rows.numpy(), axis=1))
    return rows.sort(dim=1).values


def _joint_counts(
    binned: Int[Tensor, "words neurons"], tags: Int[Tensor, " words"], bins: int, n_tags: int
) -> Int[Tensor, "neurons bins tags"]:
    n_neurons = binned.shape[1]
    cell = torch.arange(n_neurons, device=binned.device) * bins + binned
    cell = cell.mul_(n_tags).add_(tags[:, None])
    return torch.bincount(cell.flatten(), minlength=n_neurons * bins * n_tags).view(n_neurons, bins, n_tags)


def _information(counts: Int[Tensor, "neurons bins tags"]) -> Float[Tensor, "tags neurons"]:
    """Mutual information in nats of the bin and each tag against the rest."""
    joint = counts.to(torch.float32 if counts.device.type == "mps" else torch.float64)
    of_bin = joint.sum(dim=2, keepdim=True)
    of_tag = joint.sum(dim=1, keepdim=True)
    n_words = of_bin[:1].sum()
    nats = torch.zeros_like(of_tag)
    for cell, margin in ((joint, of_tag), (of_bin - joint, n_words - of_tag)):
        ratio = (cell * n_words / (of_bin * margin)).masked_fill(cell == 0, 1.0)
        nats += (cell * ratio.log()).sum(dim=1, keepdim=True) / n_words
    return nats.squeeze(1).T.clamp(min=0)  # rounding can fall below 0
