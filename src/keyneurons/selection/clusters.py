"""Dependence of the words of a sentence: sums by sentence, and the clustering of tags."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


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
        numbers, place = torch.unique_consecutive(sentences, return_inverse=True)
        sums = values.new_zeros(len(numbers), values.shape[1])
        add_by_group(sums, place, values)
        sizes = torch.bincount(place).to(sums)
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


def add_by_group(
    sums: Float[Tensor, "groups neurons"], groups: Int[Tensor, " words"], values: Float[Tensor, "words neurons"]
) -> None:
    """Add each word to the row of its group; the way depends on the device to be deterministic."""
    if values.device.type == "cpu":
        sums.index_add_(0, groups, values)
    else:
        sums += torch.nn.functional.one_hot(groups, len(sums)).to(values).T @ values
