"""Counts, sums and sums of squares by tag and extremes of every neuron, in one pass over the words.

Many selection methods are short functions of ``Moments``. Scoring all layers with all of them takes
one read of the activations, from the cache or directly from the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.clusters import SentenceSums, add_by_group
from keyneurons.selection.scorer import check_finite, tag_counts, wide
from keyneurons.selection.views import VALUE, View

VALUES_AT_ONCE = 2**20  # float64 values converted at a time; smaller chunks lose time in threading


@dataclass(frozen=True)
class Moments:
    """Counts, sums and sums of squares by tag of every neuron, and its extremes over all words.

    Values are differences from ``pivot``, the first word. This avoids cancellation where a mean is
    far from 0, and the sums of a constant neuron are exactly 0. ``sentence_squares`` is the sum
    over the sentences of the squared sum of deviations from the mean; None if sentences are
    unknown.
    """

    counts: Int[Tensor, " tags"]
    pivot: Float[Tensor, " neurons"]
    sums: Float[Tensor, "tags neurons"]
    squares: Float[Tensor, "tags neurons"]
    low: Float[Tensor, " neurons"]
    high: Float[Tensor, " neurons"]
    sentence_squares: Float[Tensor, " neurons"] | None = None

    @property
    def n_words(self) -> int:
        """Number of words of all tags."""
        return int(self.counts.sum())

    @property
    def constant(self) -> Tensor:
        """Whether each neuron has the same value on all words."""
        return self.squares.sum(dim=0) == 0

    @property
    def of_tag(self) -> Float[Tensor, "tags 1"]:
        """Number of words of each tag."""
        return self.counts.to(self.sums)[:, None]

    @property
    def of_rest(self) -> Float[Tensor, "tags 1"]:
        """Number of words of all other tags."""
        return self.n_words - self.of_tag

    def means(self) -> Float[Tensor, "tags neurons"]:
        """Mean activation over the words of each tag."""
        return self.pivot + self.sums / self.of_tag

    def difference(self) -> Float[Tensor, "tags neurons"]:
        """Mean over the words of a tag minus the mean over all other words."""
        return self.sums / self.of_tag - (self.sums.sum(dim=0) - self.sums) / self.of_rest

    def total_squares(self) -> Float[Tensor, " neurons"]:
        """Sum of squared deviations from the mean over all words."""
        return (self.squares.sum(dim=0) - self.sums.sum(dim=0).square() / self.n_words).clamp(min=0)

    def squares_within(self) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
        """Sums of squared deviations from the mean over the words of a tag and over all others."""
        rest, rest_squares = self.sums.sum(dim=0) - self.sums, self.squares.sum(dim=0) - self.squares
        inside = (self.squares - self.sums.square() / self.of_tag).clamp(min=0)
        return inside, (rest_squares - rest.square() / self.of_rest).clamp(min=0)

    def design_effects(self, correlations: Float[Tensor, " tags"] | None) -> Float[Tensor, "tags neurons"]:
        """Variance of a tag's sum by sentences, relative to independent words; at least 1.

        ``1 + c (sum over sentences (sum (x - mean))^2 / sum (x - mean)^2 - 1)``, with the
        intraclass correlation c of the tag (Kish 1965; Moulton 1986, J. Econometrics 32:385): the
        number of words divided by it is the number of independent words with the same
        information. 1 if sentences are unknown.
        """
        if self.sentence_squares is None or correlations is None:
            return torch.ones_like(self.sums)
        excess = (self.sentence_squares / self.total_squares() - 1).masked_fill(self.constant, 0.0)
        return (1 + correlations.to(excess)[:, None] * excess).clamp(min=1)

    @classmethod
    def concatenate(cls, layers: Sequence[Moments]) -> Moments:
        """Concatenate the moments of several layers."""
        by_sentence = [m.sentence_squares for m in layers if m.sentence_squares is not None]
        return cls(
            layers[0].counts,
            torch.cat([m.pivot for m in layers]),
            torch.cat([m.sums for m in layers], dim=1),
            torch.cat([m.squares for m in layers], dim=1),
            torch.cat([m.low for m in layers]),
            torch.cat([m.high for m in layers]),
            torch.cat(by_sentence) if len(by_sentence) == len(layers) else None,
        )


class MomentSums:
    """Accumulates the moments of one view of the activations under one or several taggings."""

    def __init__(self, view: View, n_tags: int, n_taggings: int = 1) -> None:
        self._view = view
        self._n_tags = n_tags
        self._n_taggings = n_taggings
        self._pivot: Tensor | None = None
        self._by_sentence: SentenceSums | None = None

    def add(
        self,
        values: Num[Tensor, "words neurons"],
        tags: Int[Tensor, "taggings words"],
        sentences: Int[Tensor, " words"] | None = None,
    ) -> None:
        """Add some words, in batches of any size; those of a sentence must follow each other."""
        if self._pivot is None:
            self._pivot = self._view.write(values[:1], wide(values[:1]))[0]
            shape = (self._n_taggings, self._n_tags, values.shape[1])
            self._sums = self._pivot.new_zeros(shape)
            self._squares = torch.zeros_like(self._sums)
            self._low, self._high = torch.zeros_like(self._pivot), torch.zeros_like(self._pivot)
            self._by_sentence = None if sentences is None else SentenceSums(self._pivot)
            self._buffer = self._pivot.new_empty(max(1, VALUES_AT_ONCE // values.shape[1]), values.shape[1])
        at_once = len(self._buffer)
        for first in range(0, len(values), at_once):
            some, their_tags = values[first : first + at_once], tags[:, first : first + at_once]
            centred = self._view.write(some, self._buffer[: len(some)])
            centred -= self._pivot
            self._low = torch.minimum(self._low, centred.amin(dim=0))
            self._high = torch.maximum(self._high, centred.amax(dim=0))
            if self._by_sentence is not None and sentences is not None:
                self._by_sentence.add(centred, sentences[first : first + at_once])
            for sums, tagging in zip(self._sums, their_tags, strict=True):
                add_by_group(sums, tagging, centred)
            centred.square_()
            for squares, tagging in zip(self._squares, their_tags, strict=True):
                add_by_group(squares, tagging, centred)

    def result(self, tags: Int[Tensor, "taggings words"]) -> list[Moments]:
        """The moments under every tagging; ``tags`` are those of all added words.

        Raises:
            ValueError: If there are no words.
        """
        if self._pivot is None:
            raise ValueError("moments need at least 1 word, got 0")
        check_finite(self._squares[0].sum(dim=0).isfinite())
        counts = [torch.bincount(tagging, minlength=self._n_tags) for tagging in tags]
        by_sentence = None
        if self._by_sentence is not None:
            by_sentence = self._by_sentence.result(self._sums[0].sum(dim=0) / tags.shape[1])
        extremes = self._low, self._high, by_sentence
        sums_by_tagging = zip(counts, self._sums, self._squares, strict=True)
        return [Moments(n, self._pivot, sums, squares, *extremes) for n, sums, squares in sums_by_tagging]


def moments_of(
    values: Num[Tensor, "words neurons"],
    tags: Int[Tensor, " words"],
    n_tags: int,
    view: View = VALUE,
    sentences: Int[Tensor, " words"] | None = None,
) -> Moments:
    """The moments of activations in memory; errors as in ``checked_counts``."""
    tag_counts(tags, len(values), n_tags)
    sums = MomentSums(view, n_tags)
    sums.add(values, tags[None], sentences)
    return sums.result(tags[None])[0]
