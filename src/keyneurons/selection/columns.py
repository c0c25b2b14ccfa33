"""Adapts plain scorers, which take columns of activations, to the interface of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from numpy import ndarray
from torch import Tensor

from keyneurons.progress import stage
from keyneurons.records import Scores
from keyneurons.selection.interface import (
    Scoring,
    Source,
    Tagging,
    Traits,
    maxima_one_by_one,
    naming_neurons,
    source_correlations,
)
from keyneurons.selection.moments import Moments, moments_of
from keyneurons.selection.scorer import NeuronScorer, checked_counts
from keyneurons.selection.views import View

Test = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def scoring_of(scorer: NeuronScorer) -> Scoring:
    """Return the scorer if it has the pipeline's interface, else its adapter."""
    if isinstance(scorer, Scoring):
        return scorer
    test = getattr(scorer, "test", None)
    return ByColumns(scorer, getattr(scorer, "per_neuron", False), test if callable(test) else None)


@dataclass(frozen=True)
class ByColumns:
    """Calls a scorer with blocks of neurons, one layer, or all layers.

    If ``per_neuron``, blocks are as wide as the memory allows; the block size does not change the
    scores. Otherwise the scorer receives one layer at a time (scope ``layer``) or all layers at
    once (scope ``model``), regardless of memory. With a ``test``, scores have p-values; their
    robust p-values are ``p^(1/d)`` with the design effect d of the neuron's activation.
    """

    scorer: NeuronScorer
    per_neuron: bool = False
    test: Test | None = None

    @property
    def traits(self) -> Traits:
        """Traits derived from the attributes of the scorer."""
        return Traits(per_neuron=self.per_neuron, tested=self.test is not None)

    def scores(
        self, source: Source, tags: Int[ndarray, " words"], moments: Mapping[View, Moments] | None = None
    ) -> Scores:
        """Score every neuron of every layer.

        Returns:
            The scores, with p-values and robust p-values if the scorer has a test; float64 on the
            CPU.

        Raises:
            ValueError: If an activation is not finite (the message names layer and neuron), or the
                scorer rejects its input or does not return one score for every tag and neuron.
        """
        values = torch.empty(source.n_tags, source.width * len(source.layers), dtype=torch.float64)
        p_values = torch.empty_like(values) if self.test is not None else None
        robust = None if p_values is None else torch.empty_like(values)
        correlations = source_correlations(source, tags)
        with stage("scoring", total=values.shape[1], unit="neurons") as progress:
            for first, words in source.columns(per_neuron=self.per_neuron):
                at = torch.as_tensor(tags, dtype=torch.long, device=words.device)
                here = slice(first, first + words.shape[1])
                with naming_neurons(source.site, source.layers, source.width, first):
                    checked_counts(words, at, source.n_tags)
                    values[:, here], of_test = self._evaluate(words, at, source.n_tags)
                if p_values is not None and robust is not None:
                    p_values[:, here] = of_test
                    robust[:, here] = of_test.double() ** (1 / _design_effects(words, at, source, correlations))
                progress.advance(words.shape[1])
        return Scores(source.site, source.layers, source.width, values, p_values, robust)

    def maxima(self, source: Source, tagging: Tagging, n: int) -> Iterator[Float[Tensor, " tags"]]:
        """Largest absolute score of each tag under each of n taggings."""
        return maxima_one_by_one(self, source, tagging, n)

    def _evaluate(
        self, words: Num[Tensor, "words block"], tags: Int[Tensor, " words"], n_tags: int
    ) -> tuple[Tensor, Tensor]:
        """Scores and p-values of a block; without a test, the scores twice.

        Raises:
            ValueError: If a result is not ``[tags, neurons]``.
        """
        tables = (self.scorer(words, tags, n_tags),) * 2 if self.test is None else self.test(words, tags, n_tags)
        shape = n_tags, words.shape[1]
        for table in tables:
            if not isinstance(table, Tensor) or table.shape != shape:
                got = tuple(table.shape) if isinstance(table, Tensor) else type(table).__name__
                raise ValueError(f"a selection method must return a tensor [tags, neurons] of shape {shape}, got {got}")
        return tables


def _design_effects(
    words: Num[Tensor, "words block"],
    tags: Int[Tensor, " words"],
    source: Source,
    correlations: Float[Tensor, " tags"] | None,
) -> Float[Tensor, "tags block"] | float:
    if source.sentences is None:
        return 1.0
    sentences = torch.as_tensor(source.sentences, device=words.device)
    return moments_of(words, tags, source.n_tags, sentences=sentences).design_effects(correlations).double()
