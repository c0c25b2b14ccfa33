"""Base classes of selection methods that need only moments of the activations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.records import Scores
from keyneurons.selection.interface import Source, Tagging, Traits, naming_neurons, source_correlations
from keyneurons.selection.moments import Moments, moments_of
from keyneurons.selection.shift import shift_bounds
from keyneurons.selection.views import VALUE, View

BYTES_PER_MOMENT = 16  # a sum and a sum of squares


class MomentScorer(ABC):
    """A scorer that needs only the moments of one ``view`` of the activations."""

    @property
    def view(self) -> View:
        """The view whose moments the method needs."""
        return VALUE

    @property
    def traits(self) -> Traits:
        """Requirements and capabilities of the method."""
        return Traits(views=(self.view,))

    @abstractmethod
    def of_moments(self, moments: Moments) -> Float[Tensor, "tags neurons"]:
        """Score every neuron for every tag."""

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Score every neuron for every tag; errors as in ``checked_counts``."""
        return self.of_moments(moments_of(values, tags, n_tags, self.view))

    def scores(
        self, source: Source, tags: Int[ndarray, " words"], moments: Mapping[View, Moments] | None = None
    ) -> Scores:
        """Score every neuron of every layer; reads the values once if ``moments`` is None.

        Returns:
            The scores, with p-values, robust p-values and effects if the method has them; float64
            on the CPU.
        """
        own = source.moments(tags[None], [self.view])[self.view][0] if moments is None else moments[self.view]
        with naming_neurons(source.site, source.layers, source.width):
            tables = self.tables(own, source_correlations(source, tags))
        on_cpu = (None if table is None else table.cpu().double() for table in tables)
        return Scores(source.site, source.layers, source.width, *on_cpu)  # type: ignore[arg-type]

    def tables(self, moments: Moments, correlations: Float[Tensor, " tags"] | None = None) -> tuple[Tensor | None, ...]:
        """Scores, then p-values, robust p-values and effects if the method has them.

        ``correlations`` are the intraclass correlations of the tags, None if sentences are unknown.
        """
        return (self.of_moments(moments),)

    def maxima(self, source: Source, tagging: Tagging, n: int) -> Iterator[Float[Tensor, " tags"]]:
        """Largest absolute score of each tag under each of n taggings.

        Each pass over the values scores as many taggings as the memory budget allows.
        """
        size = BYTES_PER_MOMENT * source.n_tags * source.width * len(source.layers)
        at_once = max(1, source.budget_bytes // (2 * size))  # half is for concatenating the layers
        for first in range(0, n, at_once):
            some = np.stack([tagging(i) for i in range(first, min(n, first + at_once))])
            for moments in source.moments(some, [self.view])[self.view]:
                with naming_neurons(source.site, source.layers, source.width):
                    scores = self.of_moments(moments)
                yield scores.abs().amax(dim=1).cpu().double()


class SignificantMomentScorer(MomentScorer):
    """A scorer by moments with its own significance test."""

    @property
    def traits(self) -> Traits:
        """Requirements and capabilities of the method."""
        return Traits(views=(self.view,), tested=True)

    @abstractmethod
    def test_moments(self, moments: Moments) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
        """The scores and their uncorrected p-values."""

    def effects(self, moments: Moments) -> Float[Tensor, "tags neurons"] | None:
        """Effect sizes, on a scale independent of the number of words; None if there are none."""
        return None

    def robust_p_values(
        self, moments: Moments, design_effects: Float[Tensor, "tags neurons"]
    ) -> Float[Tensor, "tags neurons"]:
        """p-values for thresholds, which allow for outliers and for clustering by sentence."""
        return shift_bounds(moments) ** (1 / design_effects)

    def tables(self, moments: Moments, correlations: Float[Tensor, " tags"] | None = None) -> tuple[Tensor | None, ...]:
        """Scores, p-values, robust p-values (None without extremes) and effects (None if none)."""
        values, p_values = self.test_moments(moments)
        robust = None
        if moments.low is not None:
            robust = self.robust_p_values(moments, moments.design_effects(correlations))
        return values, p_values, robust, self.effects(moments)

    def test(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
        """The scores, identical to those of the call, and their uncorrected p-values."""
        return self.test_moments(moments_of(values, tags, n_tags, self.view))
