"""Counts, sums and sums of squares by tag and extremes of every neuron, in one pass over the words.

Many selection methods are short functions of ``Moments``. Scoring all layers with all of them takes
one read of the activations, from the cache or directly from the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.clusters import WORDS_AT_ONCE, SentenceSums, sums_by_group
from keyneurons.selection.scorer import check_finite, tag_counts, wide_dtype
from keyneurons.selection.views import VALUE, View

BYTES_AT_ONCE = 16  # of a piece by value: as read, in float32, and temporary copies
ROUNDING = 1e-6  # of float32 sums: below this share of the squares about the pivot, a variance is 0
VALUES_AT_ONCE = 2**20  # values of a piece on a CPU, whose caches should hold it
WIDE = 2**14  # pieces of wider layers have no fewer words, since each adds to the sums of all tags


@dataclass(frozen=True)
class Moments:
    """Counts, sums and sums of squares by tag of every neuron, and its extremes over all words.

    Values are differences from ``pivot``, the value of a word near the mean. This avoids
    cancellation where a mean is far from 0, and the sums of a constant neuron are exactly 0.
    ``sentence_squares`` is the sum over the sentences of the squared sum of deviations from the
    mean; None if sentences are unknown. ``low`` and ``high`` are None where only sums are known.
    """

    counts: Int[Tensor, " tags"]
    pivot: Float[Tensor, " neurons"]
    sums: Float[Tensor, "tags neurons"]
    squares: Float[Tensor, "tags neurons"]
    low: Float[Tensor, " neurons"] | None
    high: Float[Tensor, " neurons"] | None
    sentence_squares: Float[Tensor, " neurons"] | None = None

    @property
    def n_words(self) -> int:
        """Number of words of all tags."""
        return int(self.counts.sum())

    @property
    def constant(self) -> Tensor:
        """Whether each neuron has the same value on all words, up to the rounding of its sums."""
        return self.total_squares() <= ROUNDING * self.squares.sum(dim=0)

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

    def of_groups(self, first: int, number: int, *, whole: bool) -> Moments:
        """The sums of some adjacent tags; if these are ``whole``, extremes stay known."""
        own = slice(first, first + number)
        kept = replace(self, counts=self.counts[own], sums=self.sums[own], squares=self.squares[own])
        return kept if whole else replace(kept, low=None, high=None, sentence_squares=None)

    @classmethod
    def concatenate(cls, layers: Sequence[Moments]) -> Moments:
        """Concatenate the moments of several layers."""

        def joined(name: str) -> Tensor | None:
            known = [own for own in (getattr(m, name) for m in layers) if own is not None]
            return torch.cat(known, dim=-1) if len(known) == len(layers) else None

        return cls(layers[0].counts, *(joined(field.name) for field in fields(cls)[1:]))  # type: ignore[arg-type]


@dataclass
class _Totals:
    """Sums of the words so far: differences from the pivot, by tagging and tag, and extremes."""

    pivot: Float[Tensor, " neurons"]
    low: Float[Tensor, " neurons"]
    high: Float[Tensor, " neurons"]
    sums: list[Float[Tensor, "_tags neurons"]]
    squares: list[Float[Tensor, "_tags neurons"]]
    by_sentence: SentenceSums | None

    @classmethod
    def at(cls, pivot: Float[Tensor, " neurons"], n_tags: Sequence[int], *, clustered: bool) -> _Totals:
        options = {"dtype": wide_dtype(pivot.device), "device": pivot.device}
        sums, squares = ([torch.zeros(n, len(pivot), **options) for n in n_tags] for _ in range(2))  # type: ignore[call-overload]
        by_sentence = SentenceSums(sums[0][0]) if clustered else None
        return cls(pivot, torch.zeros_like(pivot), torch.zeros_like(pivot), sums, squares, by_sentence)


class MomentSums:
    """Accumulates the moments of one view of the activations under one or several taggings.

    ``n_tags`` has the number of tags of each tagging.
    Up to ``WORDS_AT_ONCE`` words are summed in float32 (float64 values in float64), as differences
    from the pivot; their sums are added in float64. Devices and batches therefore change the result
    only by the rounding of float32, relative to the deviations from the pivot.
    """

    def __init__(self, view: View, n_tags: Sequence[int]) -> None:
        self._view = view
        self._n_tags = tuple(n_tags)
        self._totals: _Totals | None = None
        self._buffer: Tensor | None = None

    def add(
        self,
        values: Num[Tensor, "words neurons"],
        tags: Int[Tensor, "taggings words"],
        sentences: Int[Tensor, " words"] | None = None,
    ) -> None:
        """Add some words, in batches of any size; those of a sentence must follow each other."""
        at_once = words_at_once(values.shape[1], values.device)
        for first in range(0, len(values), at_once):
            here = slice(first, first + at_once)
            self._add(values[here], tags[:, here], None if sentences is None else sentences[here])

    def _add(
        self,
        values: Num[Tensor, "words neurons"],
        tags: Int[Tensor, "taggings words"],
        sentences: Int[Tensor, " words"] | None,
    ) -> None:
        centred = self._view.write(values, self._piece(values))
        if self._totals is None:
            clustered, pivot = sentences is not None, nearest_to_mean(centred)
            self._totals = _Totals.at(pivot, self._n_tags, clustered=clustered)
        totals = self._totals
        centred -= totals.pivot
        totals.low = torch.minimum(totals.low, centred.amin(dim=0))
        totals.high = torch.maximum(totals.high, centred.amax(dim=0))
        if totals.by_sentence is not None and sentences is not None:
            totals.by_sentence.add(centred, sentences)
        for sums, tagging, n_tags in zip(totals.sums, tags, self._n_tags, strict=True):
            sums += sums_by_group(centred, tagging, n_tags)
        centred.square_()
        for squares, tagging, n_tags in zip(totals.squares, tags, self._n_tags, strict=True):
            squares += sums_by_group(centred, tagging, n_tags)

    def _piece(self, values: Num[Tensor, "words neurons"]) -> Float[Tensor, "words neurons"]:
        """Memory of a piece in the format of its sums, used again for the next piece."""
        if self._buffer is None or len(self._buffer) < len(values):
            dtype = values.dtype if values.dtype == torch.float64 else torch.float32
            self._buffer = torch.empty(values.shape, dtype=dtype, device=values.device)
        return self._buffer[: len(values)]

    def result(self, tags: Int[Tensor, "taggings words"]) -> list[Moments]:
        """The moments under every tagging; ``tags`` are those of all added words.

        Raises:
            ValueError: If there are no words.
        """
        totals = self._totals
        if totals is None:
            raise ValueError("moments need at least 1 word, got 0")
        check_finite(totals.squares[0].sum(dim=0).isfinite())
        counts = [torch.bincount(tagging, minlength=n) for tagging, n in zip(tags, self._n_tags, strict=True)]
        by_sentence = None
        if totals.by_sentence is not None:
            by_sentence = totals.by_sentence.result(totals.sums[0].sum(dim=0) / tags.shape[1])
        pivot, low, high = (each.to(totals.sums[0]) for each in (totals.pivot, totals.low, totals.high))
        by_tagging = zip(counts, totals.sums, totals.squares, strict=True)
        return [Moments(n, pivot, sums, squares, low, high, by_sentence) for n, sums, squares in by_tagging]


def words_at_once(width: int, device: torch.device, budget_bytes: int = 2**28) -> int:
    """Words of a piece: few enough for the caches of a CPU, or as many as the budget allows.

    A GPU needs large pieces, since every operation on a piece starts a kernel.
    """
    if device.type == "cpu":
        return max(1, min(WORDS_AT_ONCE, VALUES_AT_ONCE // min(width, WIDE)))
    return max(1, budget_bytes // (BYTES_AT_ONCE * width))


def nearest_to_mean(values: Float[Tensor, "words neurons"]) -> Float[Tensor, " neurons"]:
    """The value of each neuron that is nearest to its mean over some words."""
    nearest = (values - values.mean(dim=0)).abs_().argmin(dim=0, keepdim=True)
    return values.gather(0, nearest)[0]


def moments_of(
    values: Num[Tensor, "words neurons"],
    tags: Int[Tensor, " words"],
    n_tags: int,
    view: View = VALUE,
    sentences: Int[Tensor, " words"] | None = None,
) -> Moments:
    """The moments of activations in memory; errors as in ``checked_counts``."""
    tag_counts(tags, len(values), n_tags)
    sums = MomentSums(view, [n_tags])
    sums.add(values, tags[None], sentences)
    return sums.result(tags[None])[0]
