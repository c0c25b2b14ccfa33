"""Counts, sums and sums of squares by tag and the extremes of every neuron, gathered in one pass over the words.

Every method that needs no more than these is a few lines on ``Moments``; all such methods over all layers together
cost one read of the activations, which may come from the cache or straight from the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.scorer import check_finite, tag_counts, wide
from keyneurons.selection.views import VALUE, View

VALUES_AT_ONCE = 2**20  # of float64: what is read and widened at a time; smaller pieces wake threads too often


@dataclass(frozen=True)
class Moments:
    """Counts, sums and sums of squares of every neuron over the words of every tag, and its extremes over all words.

    All are of differences from ``pivot``, the first word seen. So sums do not cancel where a mean is far from 0, and a
    constant neuron has sums of exactly 0.
    """

    counts: Int[Tensor, " tags"]
    pivot: Float[Tensor, " neurons"]
    sums: Float[Tensor, "tags neurons"]
    squares: Float[Tensor, "tags neurons"]
    low: Float[Tensor, " neurons"]
    high: Float[Tensor, " neurons"]

    @property
    def n_words(self) -> int:
        """Words of all tags."""
        return int(self.counts.sum())

    @property
    def constant(self) -> Tensor:
        """Whether a neuron has one value on all words."""
        return self.squares.sum(dim=0) == 0

    @property
    def of_tag(self) -> Float[Tensor, "tags 1"]:
        """Words of every tag."""
        return self.counts.to(self.sums)[:, None]

    @property
    def of_rest(self) -> Float[Tensor, "tags 1"]:
        """Words of all other tags."""
        return self.n_words - self.of_tag

    def means(self) -> Float[Tensor, "tags neurons"]:
        """Mean activation over the words of every tag."""
        return self.pivot + self.sums / self.of_tag

    def difference(self) -> Float[Tensor, "tags neurons"]:
        """Mean over the words of a tag minus mean over all other words."""
        return self.sums / self.of_tag - (self.sums.sum(dim=0) - self.sums) / self.of_rest

    def total_squares(self) -> Float[Tensor, " neurons"]:
        """Sum of squared differences from the mean over all words."""
        return (self.squares.sum(dim=0) - self.sums.sum(dim=0).square() / self.n_words).clamp(min=0)

    def squares_within(self) -> tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]]:
        """Sums of squared differences from the mean: over the words of a tag, and over all other words."""
        rest, rest_squares = self.sums.sum(dim=0) - self.sums, self.squares.sum(dim=0) - self.squares
        inside = (self.squares - self.sums.square() / self.of_tag).clamp(min=0)
        return inside, (rest_squares - rest.square() / self.of_rest).clamp(min=0)

    @classmethod
    def beside(cls, layers: Sequence[Moments]) -> Moments:
        """The moments of several layers, their neurons side by side."""
        return cls(
            layers[0].counts,
            torch.cat([m.pivot for m in layers]),
            torch.cat([m.sums for m in layers], dim=1),
            torch.cat([m.squares for m in layers], dim=1),
            torch.cat([m.low for m in layers]),
            torch.cat([m.high for m in layers]),
        )


class MomentSums:
    """Gathers the moments of one view of the activations, for one tagging of the words or several at once."""

    def __init__(self, view: View, n_tags: int, n_taggings: int = 1) -> None:
        self._view = view
        self._n_tags = n_tags
        self._n_taggings = n_taggings
        self._pivot: Tensor | None = None

    def add(self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, "taggings words"]) -> None:
        """Take in some words, in one or more pieces; they may come in any order and number."""
        if self._pivot is None:
            self._pivot = self._view.write(values[:1], wide(values[:1]))[0]
            shape = (self._n_taggings, self._n_tags, values.shape[1])
            self._sums = self._pivot.new_zeros(shape)
            self._squares = torch.zeros_like(self._sums)
            self._low, self._high = torch.zeros_like(self._pivot), torch.zeros_like(self._pivot)
            self._place = self._pivot.new_empty(max(1, VALUES_AT_ONCE // values.shape[1]), values.shape[1])
        at_once = len(self._place)
        for some, their_tags in zip(torch.split(values, at_once), torch.split(tags, at_once, dim=1), strict=True):
            centred = self._view.write(some, self._place[: len(some)])
            centred -= self._pivot
            self._low = torch.minimum(self._low, centred.amin(dim=0))
            self._high = torch.maximum(self._high, centred.amax(dim=0))
            for sums, tagging in zip(self._sums, their_tags, strict=True):
                _add_by_tag(sums, tagging, centred)
            centred.square_()
            for squares, tagging in zip(self._squares, their_tags, strict=True):
                _add_by_tag(squares, tagging, centred)

    def result(self, tags: Int[Tensor, "taggings words"]) -> list[Moments]:
        """The moments of every tagging; ``tags`` are those of all the words taken in.

        Raises:
            ValueError: If no word was.
        """
        if self._pivot is None:
            raise ValueError("moments need a word, got none")
        check_finite(self._squares[0].sum(dim=0).isfinite())
        counts = [torch.bincount(tagging, minlength=self._n_tags) for tagging in tags]
        gathered = zip(counts, self._sums, self._squares, strict=True)
        return [Moments(n, self._pivot, sums, squares, self._low, self._high) for n, sums, squares in gathered]


def moments_of(
    values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int, view: View = VALUE
) -> Moments:
    """The moments of activations that are at hand; refuses what ``checked_counts`` refuses."""
    tag_counts(tags, len(values), n_tags)
    sums = MomentSums(view, n_tags)
    sums.add(values, tags[None])
    return sums.result(tags[None])[0]


def _add_by_tag(
    sums: Float[Tensor, "tags neurons"], tags: Int[Tensor, " words"], values: Float[Tensor, "words neurons"]
) -> None:
    """Add each word to the row of its tag: in order on a CPU, as a product elsewhere, so that repeats are equal."""
    if values.device.type == "cpu":
        sums.index_add_(0, tags, values)
    else:
        sums += torch.nn.functional.one_hot(tags, len(sums)).to(values).T @ values
