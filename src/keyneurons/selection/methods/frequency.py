"""Selection by attribution: how often a neuron is among the strongest, or its mean attribution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.selection.interface import Traits
from keyneurons.selection.moment_scorer import MomentScorer, SignificantMomentScorer
from keyneurons.selection.moments import Moments
from keyneurons.selection.views import TopShare, View

FrequencyTest = Literal["chi_squared", "fisher"]


@dataclass(frozen=True)
class Frequency(SignificantMomentScorer):
    """Share of a tag's words for which a neuron is among the strongest (arXiv:2511.06519), in 0..1.

    Values are attributions; a word keeps its strongest ``share`` of neurons, see ``TopShare`` for
    ``of_all_layers`` and ``signed``. The score ignores the strength of kept neurons and how often
    other tags keep a neuron; the test covers the latter. ``chi_squared`` is Pearson's test of kept
    or not by all tags, without continuity correction, the same for every tag. ``fisher`` is
    Fisher's exact test of one tag against the rest, one-sided: kept more often for the tag. Both
    assume independent words. Fisher's test holds its level for any counts; the chi-squared
    approximation needs about five expected kept words per tag, and one kept word of a rare tag can
    make it significant. Neurons whose Cramer's V over all tags is below ``min_cramers_v`` score 0.
    A neuron that is kept for every word has score 1, p = 1 and V = 0.
    """

    share: float = 0.05
    of_all_layers: bool = False
    signed: bool = True
    test_by: FrequencyTest = "chi_squared"
    min_cramers_v: float = 0.0

    def __post_init__(self) -> None:
        if self.test_by not in {"chi_squared", "fisher"}:
            raise ValueError(f"test must be chi_squared or fisher, got {self.test_by!r}")
        if not 0 <= self.min_cramers_v <= 1:
            raise ValueError(f"min_cramers_v must lie in 0..1, got {self.min_cramers_v}")
        _ = self.view

    @property
    def view(self) -> View:
        """1 where a neuron is among the strongest of a word."""
        return TopShare(self.share, self.signed, self.of_all_layers)

    @property
    def traits(self) -> Traits:
        """Not permutable: neurons that are frequent for every tag would dominate the null."""
        return replace(super().traits, permutable=False, may_be_empty=self.min_cramers_v > 0)

    def of_moments(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """Share of the words of every tag that keep a neuron."""
        shares = _kept(moments) / moments.of_tag
        return shares.masked_fill(self.effects(moments) < self.min_cramers_v, 0.0)

    def test_moments(self, moments: Moments) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
        """The scores and the p-values of their test."""
        return self.of_moments(moments), self._p_values(moments)

    def robust_p_values(
        self, moments: Moments, design_effects: Float[Tensor, "tags neurons"]
    ) -> Float[Tensor, "tags neurons"]:
        """p-values that allow for clustering by sentence, of all tags for the test of all tags."""
        design = design_effects if self.test_by == "fisher" else design_effects.amax(dim=0)
        return self._p_values(moments) ** (1 / design)

    def effects(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """Cramer's V of kept or not by all tags, in 0..1; the same for every tag."""
        v = (_chi_squared(moments) / moments.n_words).sqrt().clamp(max=1)  # rounding can exceed 1
        return v.repeat(len(moments.counts), 1)

    def _p_values(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        kept = _kept(moments)
        if self.test_by == "fisher":
            return _fisher(moments).to(kept)
        from scipy.special import chdtrc

        p = chdtrc(len(moments.counts) - 1, _chi_squared(moments).cpu().double().numpy())
        return torch.from_numpy(p).to(kept).repeat(len(kept), 1)


@dataclass(frozen=True)
class MeanAttribution(MomentScorer):
    """Mean attribution of a neuron over the words of a tag, signed, in units of the target.

    Ignores the variance of the attributions and other tags. A constant neuron scores 0.
    """

    def of_moments(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """Mean of every neuron for every tag."""
        return moments.means().masked_fill(moments.constant, 0.0)


def _kept(moments: Moments) -> Float[Tensor, "tags neurons"]:
    """Number of words of every tag that keep a neuron; integers."""
    return moments.pivot * moments.of_tag + moments.sums


def _chi_squared(moments: Moments) -> Float[Tensor, " neurons"]:
    """Pearson's statistic of kept or not by tag; 0 for a neuron that is kept always or never."""
    kept = _kept(moments)
    share = kept.sum(dim=0) / moments.n_words
    deviation = (kept - share * moments.of_tag).square() / (moments.of_tag * share * (1 - share))
    return deviation.masked_fill(moments.constant, 0.0).sum(dim=0)


def _fisher(moments: Moments) -> Float[Tensor, "tags neurons"]:
    """Probability of at least as many kept words of the tag, given the total of kept words."""
    from scipy.stats import hypergeom

    kept = _kept(moments).round().long().cpu().numpy()
    total, p, n = kept.sum(axis=0), np.empty(kept.shape), moments.n_words
    for tag, of_tag in enumerate(moments.counts.tolist()):
        pairs, place = np.unique(kept[tag] * (n + 1) + total, return_inverse=True)  # far fewer than neurons
        p[tag] = hypergeom.sf(pairs // (n + 1) - 1, n, pairs % (n + 1), of_tag)[place]
    return torch.from_numpy(p.clip(0.0, 1.0))  # rounding can exceed 1
