"""Dependence of the words of a sentence: sums by sentence, and the clustering of tags."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from keyneurons.selection.scorer import wide

WORDS_AT_ONCE = 512  # words that are summed in float32 before their sums join float64 totals


class SentenceSums:
    """Accumulates squared sums over sentences.

    The words of a sentence must follow each other; they may come in several batches.
    """

    def __init__(self, like: Float[Tensor, " neurons"]) -> None:
        self._squares, self._weighted = torch.zeros_like(like), torch.zeros_like(like)
        self._squared_sizes = like.new_zeros(())
        self._last = -1
        self._sum, self._size = like.new_zeros(1, len(like)), like.new_zeros(1)

    def add(self, values: Float[Tensor, "words neurons"], sentences: Int[Tensor, " words"]) -> None:
        """Add some words with the numbers of their sentences."""
        numbers, lengths = torch.unique_consecutive(sentences, return_counts=True)
        sums = sums_of_runs(values, lengths)
        sizes = lengths.to(sums)
        if int(numbers[0]) == self._last:
            sums[0] += self._sum[0]
            sizes[0] += self._size[0]
        else:
            self._close(self._sum, self._size)
        self._close(sums[:-1], sizes[:-1])
        self._last, self._sum, self._size = int(numbers[-1]), sums[-1:], sizes[-1:]

    def result(self, mean: Float[Tensor, " neurons"]) -> Float[Tensor, " neurons"]:
        """Sum over the sentences of the squared sum of deviations from a mean."""
        self._close(self._sum, self._size)
        self._last, self._sum, self._size = -1, torch.zeros_like(self._sum), torch.zeros_like(self._size)
        squares = self._squares - 2 * mean * self._weighted + mean.square() * self._squared_sizes
        return squares.clamp(min=0)  # rounding can fall below 0

    def _close(self, sums: Float[Tensor, "sentences neurons"], sizes: Float[Tensor, " sentences"]) -> None:
        self._squares += sums.square().sum(dim=0)
        self._weighted += sizes @ sums
        self._squared_sizes += sizes.square().sum()


def intraclass_correlations(
    tags: Int[Tensor, " words"], sentences: Int[Tensor, " words"], n_tags: int
) -> Float[Tensor, " tags"]:
    """Correlation of a tag's indicator between two words of a sentence, over all such pairs.

    Fisher's intraclass correlation with the mean over all words; 0 if no sentence has two words.
    """
    _, place = torch.unique_consecutive(sentences, return_inverse=True)
    counts = torch.zeros(int(place.max()) + 1, n_tags, dtype=torch.float64)
    counts.index_put_((place, tags.long()), torch.ones(len(tags), dtype=torch.float64), accumulate=True)
    sizes = counts.sum(dim=1, keepdim=True)
    share = counts.sum(dim=0) / len(tags)
    variance = share * (1 - share)
    in_pairs = (counts - share * sizes).square().sum(dim=0) - len(tags) * variance
    n_pairs = float((sizes * (sizes - 1)).sum())
    return in_pairs / (n_pairs * variance) if n_pairs else torch.zeros(n_tags, dtype=torch.float64)


def sums_by_group(
    values: Float[Tensor, "words neurons"], groups: Int[Tensor, " words"], n_groups: int
) -> Float[Tensor, "groups neurons"]:
    """Sums over the words of each group, in float64.

    On a CPU, which gets small pieces, rows are added in the format of the values. Elsewhere the
    result must be deterministic and few kernels should start: products with a one-hot matrix, each
    of ``WORDS_AT_ONCE`` words.
    """
    if values.device.type == "cpu":
        return wide(values.new_zeros(n_groups, values.shape[1]).index_add_(0, groups, values))
    return sums_by_product(values, groups, n_groups)


def sums_by_product(
    values: Float[Tensor, "words neurons"], groups: Int[Tensor, " words"], n_groups: int
) -> Float[Tensor, "groups neurons"]:
    """Sums over the words of each group by batched products with a one-hot matrix."""
    whole = len(values) - len(values) % WORDS_AT_ONCE
    total = wide(values.new_zeros(n_groups, values.shape[1]))
    for some, own in ((values[:whole], groups[:whole]), (values[whole:], groups[whole:])):
        if len(some):
            at_once = min(len(some), WORDS_AT_ONCE)
            members = one_hot(own.view(-1, at_once), n_groups).to(values).mT
            total += (members @ some.view(-1, at_once, some.shape[1])).sum(dim=0, dtype=total.dtype)
    return total


def sums_of_runs(
    values: Float[Tensor, "words neurons"], lengths: Int[Tensor, " runs"]
) -> Float[Tensor, "runs neurons"]:
    """Sums over runs of adjacent words, in float64."""
    if values.device.type == "cuda":
        return wide(torch.segment_reduce(values, "sum", lengths=lengths, axis=0, unsafe=True))
    place = torch.repeat_interleave(torch.arange(len(lengths), device=values.device), lengths)
    return wide(values.new_zeros(len(lengths), values.shape[1]).index_add_(0, place, values))
