"""Gaussians extended by one neuron at a time, with the density for every candidate neuron."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.scorer import wide

VALUES_AT_ONCE = 2**18  # float64 values per block: a few blocks fit the processor cache


class Gaussian:
    """Gaussian of the words of one class on the selected neurons and any one candidate neuron.

    With all neurons selected, ``loadings`` are the mean and the columns of the Cholesky factor of
    ``(nu0 + n + d + 2) Sigma*``; each selected neuron adds a column. ``places`` are 1 and the
    coordinates of the held-out words in these columns, so that ``x - places @ loadings`` are the
    residuals of the held-out activations given the selected neurons. ``left`` is the corresponding
    residual diagonal.
    """

    def __init__(
        self, values: Num[Tensor, "words neurons"], fitted: Int[Tensor, " fitted"], held: Int[Tensor, " held"]
    ) -> None:
        self.n_words = len(fitted)
        self.values, self.fitted, self.held = values, fitted, held
        mean, squares = _mean_and_squares(values, fitted)
        self.varied = squares > 0
        # constant neurons are never selected: their value is arbitrary
        self.left = with_prior(squares, self.n_words).masked_fill(~self.varied, 1.0)
        self.loadings = mean[None]
        self.places = mean.new_ones(len(held), 1)
        self.distance = mean.new_zeros(len(held))
        self.log_determinant = mean.new_zeros(())

    def log_densities(self, words: Float[Tensor, "some neurons"], some: slice) -> Float[Tensor, "some neurons"]:
        """Log densities of some held-out words on the selected neurons and each candidate.

        A term that depends only on the number of neurons is omitted.
        """
        size = len(self.loadings)  # selected neurons and the candidate: the mean takes one row
        divisor = denominator(self.n_words, size)
        densities = torch.addmm(words, self.places[some], self.loadings, alpha=-1)
        densities.square_().mul_(-divisor / 2 / self.left)
        densities -= (divisor / 2 * self.distance[some])[:, None]
        densities -= (self.log_determinant + self.left.log() - size * math.log(divisor)) / 2
        return densities

    def add(self, neuron: int) -> None:
        """Add a neuron to the selected ones."""
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
        """Sums over the fitted words of centred products of a neuron with every neuron."""
        sums = torch.zeros_like(self.left)
        for words in word_blocks(self.values, self.fitted):
            words -= self.loadings[0]
            sums += words[:, neuron] @ words
        return sums


def with_prior(squares: Float[Tensor, " neurons"], n_words: int) -> Float[Tensor, " neurons"]:
    """Diagonal of ``Lambda0 + S``, with S the scatter matrix and Lambda0 the diagonal of ``S / n``.

    Off the diagonal the sum equals S, so neurons with identical activations leave the matrix
    invertible. The posterior mode of a covariance of d neurons is ``Sigma* = (Lambda0 + S) / (nu0 +
    n + d + 2)``.
    """
    return squares + squares / n_words


def denominator(n_words: int, size: int) -> int:
    """``nu0 + n + d + 2`` with ``nu0 = d + 2``, for n words and d neurons."""
    return (size + 2) + n_words + size + 2


def _mean_and_squares(
    values: Num[Tensor, "words neurons"], rows: Int[Tensor, " some"]
) -> tuple[Float[Tensor, " neurons"], Float[Tensor, " neurons"]]:
    """Means and sums of squared deviations over some words; exactly 0 for constant neurons."""
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
    """Copies of some words in the widest type, in blocks."""
    at_once = max(1, VALUES_AT_ONCE // values.shape[1])
    for first in range(0, len(rows), at_once):
        yield wide(values[rows[first : first + at_once]])
