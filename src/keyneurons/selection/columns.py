"""Any scorer as the pipeline uses it: one that says nothing about itself is called with neurons side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.records import Scores
from keyneurons.selection.interface import Scoring, Source, Tagging, Traits, maxima_one_by_one, naming_neurons
from keyneurons.selection.moments import Moments
from keyneurons.selection.scorer import NeuronScorer, checked_counts
from keyneurons.selection.views import View

Test = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def scoring_of(scorer: NeuronScorer) -> Scoring:
    """A scorer as the pipeline uses it."""
    if isinstance(scorer, Scoring):
        return scorer
    test = getattr(scorer, "test", None)
    return ByColumns(scorer, getattr(scorer, "per_neuron", False), test if callable(test) else None)


@dataclass(frozen=True)
class ByColumns:
    """A scorer that is called with values of neurons: a block of them, all of a layer, or all of all layers.

    If ``per_neuron``, blocks are as wide as the memory allows; they change no score. Else the scorer sees a layer at a
    time (scope ``layer``) or all layers at once (scope ``model``), whatever memory that takes. With a ``test`` scores
    have p-values.
    """

    scorer: NeuronScorer
    per_neuron: bool = False
    test: Test | None = None

    @property
    def traits(self) -> Traits:
        """What the scorer says about itself."""
        return Traits(per_neuron=self.per_neuron, tested=self.test is not None)

    def scores(
        self, source: Source, tags: Int[ndarray, " words"], moments: Mapping[View, Moments] | None = None
    ) -> Scores:
        """Score every neuron of every layer.

        Returns:
            The scores, with p-values where the scorer has a test; both float64 on the CPU.

        Raises:
            ValueError: If an activation is not finite (names layer and neuron), or the scorer refuses its input or
                returns anything but a score for every tag and neuron.
        """
        values = torch.empty(source.n_tags, source.width * len(source.layers), dtype=torch.float64)
        p_values = torch.empty_like(values) if self.test is not None else None
        for first, words in source.columns(per_neuron=self.per_neuron):
            at = torch.as_tensor(tags, dtype=torch.long, device=words.device)
            here = slice(first, first + words.shape[1])
            with naming_neurons(source.site, source.layers, source.width, first):
                checked_counts(words, at, source.n_tags)
                values[:, here], of_test = self._called(words, at, source.n_tags)
            if p_values is not None:
                p_values[:, here] = of_test
        return Scores(source.site, source.layers, source.width, values, p_values)

    def maxima(self, source: Source, tagging: Tagging, n: int) -> Iterator[Float[Tensor, " tags"]]:
        """The largest magnitude of a score of each tag under each of n taggings."""
        return maxima_one_by_one(self, source, tagging, n)

    def _called(
        self, words: Num[Tensor, "words block"], tags: Int[Tensor, " words"], n_tags: int
    ) -> tuple[Tensor, Tensor]:
        """Scores and p-values of a block; without a test the scores twice.

        Raises:
            ValueError: If they are not ``[tags, neurons]``.
        """
        found = (self.scorer(words, tags, n_tags),) * 2 if self.test is None else self.test(words, tags, n_tags)
        shape = n_tags, words.shape[1]
        for table in found:
            if not isinstance(table, Tensor) or table.shape != shape:
                got = tuple(table.shape) if isinstance(table, Tensor) else type(table).__name__
                raise ValueError(f"a selection method must return a tensor [tags, neurons] of shape {shape}, got {got}")
        return found
