"""Other axes than those of the neurons: principal components and random rotations."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

EXACT_WIDTH = 4096  # wider layers use a randomised SVD: an eigendecomposition is cubic in the width
POWER_ITERATIONS = 4
OVERSAMPLES = 10
WORDS_AT_ONCE = 1024  # words converted to float64 at a time


def principal_axes(values: Float[Tensor, "words neurons"], n: int, seed: int) -> Float[Tensor, "neurons axes"]:
    """The axes of the first n principal components of centred values, the largest variance first.

    Up to ``EXACT_WIDTH`` neurons they are eigenvectors of the covariance, summed in float64. For
    more neurons they are approximate: scikit-learn's randomised SVD (Halko et al. 2011,
    arXiv:0909.4061) in float32, seeded by ``seed``.

    Raises:
        ValueError: There are fewer than n neurons or words.
    """
    words, width = values.shape
    if not 0 < n <= min(words, width):
        raise ValueError(f"components must lie in 1..{min(words, width)} (the words and neurons), got {n}")
    if width > EXACT_WIDTH:
        from sklearn.utils.extmath import randomized_svd

        _, _, rows = randomized_svd(
            values.numpy(), n, n_oversamples=OVERSAMPLES, n_iter=POWER_ITERATIONS, random_state=seed
        )
        return torch.from_numpy(rows.T.copy())
    squares = torch.zeros(width, width, dtype=torch.float64)
    for some in torch.split(values, WORDS_AT_ONCE):
        wide = some.double()
        squares.addmm_(wide.T, wide)
    axes: Tensor = torch.linalg.eigh(squares).eigenvectors
    return axes[:, -n:].flip(1).float()


def random_orthogonal(width: int, seed: int) -> Float[ndarray, "width width"]:
    """A random orthogonal matrix, uniform over all of them (Haar).

    QR decomposition of a Gaussian matrix, with the signs of Mezzadri 2007 (arXiv:math-ph/0609050),
    in float64.
    """
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))
    matrix: ndarray = q * np.sign(np.diag(r))
    return matrix
