"""Gaussians that grow by one neuron at a time, every other neuron being ready to join."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.scorer import wide

VALUES_AT_ONCE = 2**18  # of float64: a step takes several of these through the cache of a processor


class Gaussian:
    """The words of one side: their Gaussian on the chosen neurons, and on each other neuron given these.

    With every neuron chosen it grows by a column of the Cholesky factor of ``(nu0 + n + d + 2) Sigma*``. ``loadings``
    are the mean and then these columns, over all neurons; ``places`` are 1 and then the held-out words in the
    coordinates of these columns, so that ``x - places @ loadings`` is what the chosen neurons do not explain of
    held-out activations, and ``left`` the like of the diagonal.
    """

    def __init__(
        self, values: Num[Tensor, "words neurons"], fitted: Int[Tensor, " fitted"], held: Int[Tensor, " held"]
    ) -> None:
        self.n_words = len(fitted)
        self.values, self.fitted, self.held = values, fitted, held
        mean, squares = _mean_and_squares(values, fitted)
        self.varied = squares > 0
        self.left = with_prior(squares, self.n_words).masked_fill(~self.varied, 1.0)  # never chosen; any number will do
        self.loadings = mean[None]
        self.places = mean.new_ones(len(held), 1)
        self.distance = mean.new_zeros(len(held))
        self.log_determinant = mean.new_zeros(())

    def log_densities(self, words: Float[Tensor, "some neurons"], some: slice) -> Float[Tensor, "some neurons"]:
        """Log density of some held-out words on the chosen neurons and each other one, less a term in the size."""
        size = len(self.loadings)  # chosen neurons, and the other one for the mean
        divisor = denominator(self.n_words, size)
        found = torch.addmm(words, self.places[some], self.loadings, alpha=-1)
        found.square_().mul_(-divisor / 2 / self.left)
        found -= (divisor / 2 * self.distance[some])[:, None]
        found -= (self.log_determinant + self.left.log() - size * math.log(divisor)) / 2
        return found

    def add(self, neuron: int) -> None:
        """Put a neuron beside the chosen ones."""
        root = self.left[neuron].sqrt()
        loading = (self._products(neuron) - self.loadings[1:, neuron] @ self.loadings[1:]) / root
        activation = wide(self.values[self.held, neuron, None])[:, 0]
        place = (activation - self.places @ self.loadings[:, neuron]) / root
        self.log_determinant += self.left[neuron].log()
        self.distance += place.square()
        self.left -= loading.square()
        self.loadings = torch.cat([self.loadings, loading[None]])
        self.places = torch.cat([self.places, place[:, None]], dim=1)

    def _products(self, neuron: int) -> Float[Tensor, " neurons"]:
        """Sums over the fitted words of the products of a neuron with every one, both less their means."""
        sums = torch.zeros_like(self.left)
        for words in word_blocks(self.values, self.fitted):
            words -= self.loadings[0]
            sums += words[:, neuron] @ words
        return sums


def with_prior(squares: Float[Tensor, " neurons"], n_words: int) -> Float[Tensor, " neurons"]:
    """Diagonal of ``Lambda0 + S``: S sums squares around the mean, Lambda0 is the diagonal of ``S / n``.

    Off the diagonal it is S, so neurons that say the same leave a matrix that can be inverted. The posterior mode of a
    covariance of d neurons is ``Sigma* = (Lambda0 + S) / (nu0 + n + d + 2)``.
    """
    return squares + squares / n_words


def denominator(n_words: int, size: int) -> int:
    """``nu0 + n + d + 2`` with ``nu0 = d + 2``, for n words and d neurons."""
    return (size + 2) + n_words + size + 2


def _mean_and_squares(
    values: Num[Tensor, "words neurons"], rows: Int[Tensor, " some"]
) -> tuple[Float[Tensor, " neurons"], Float[Tensor, " neurons"]]:
    """Means of some words and sums of squares around them, exactly 0 where a neuron has one value on all of them."""
    first = wide(values[rows[:1]])[0]
    shift, squares = torch.zeros_like(first), torch.zeros_like(first)
    for words in word_blocks(values, rows):
        shift += words.sub_(first).sum(dim=0)
    shift /= len(rows)
    for words in word_blocks(values, rows):
        squares += words.sub_(first).sub_(shift).square_().sum(dim=0)
    return first + shift, squares


def word_blocks(
    values: Num[Tensor, "words neurons"], rows: Int[Tensor, " some"]
) -> Iterator[Float[Tensor, "_ neurons"]]:
    """Wide copies of some words, a few at a time."""
    at_once = max(1, VALUES_AT_ONCE // values.shape[1])
    for first in range(0, len(rows), at_once):
        yield wide(values[rows[first : first + at_once]])
