"""Principal components of every layer, fitted on the activations of the train words."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor

from keyneurons.basis.linear import Directions, Linear

UNFITTED = Linear("pca", "fitted by the run (basis.file takes the components of an earlier run)", {})
"""Stands for the components of a run that has not read its train words yet."""


class Covariance:
    """Sums of a layer's activations and of their products, in float64 about a pivot.

    Memory: two matrices of the layer's width squared in float64.
    """

    def __init__(self) -> None:
        self._pivot: Tensor | None = None
        self._n = 0

    def add(self, values: Num[Tensor, "words neurons"]) -> None:
        """Add some words."""
        wide = values.double()
        if self._pivot is None:
            width = wide.shape[1]
            self._pivot = wide.mean(dim=0)
            self._sums = torch.zeros(width, dtype=torch.float64, device=wide.device)
            self._products = torch.zeros(width, width, dtype=torch.float64, device=wide.device)
        centred = wide - self._pivot
        self._sums += centred.sum(dim=0)
        self._products.addmm_(centred.T, centred)
        self._n += len(values)

    def directions(self) -> Directions:
        """All principal components, the largest variance first.

        The largest loading of each is positive. Components whose variance is 0 up to rounding have
        no direction.

        Raises:
            ValueError: fewer than two words were added.
        """
        if self._pivot is None or self._n < 2:
            raise ValueError(f"basis=pca needs at least 2 train words, got {self._n}")
        mean = self._sums / self._n
        variances, axes = torch.linalg.eigh(self._products / self._n - torch.outer(mean, mean))
        variances, axes = variances.flip(0), axes.flip(1)
        signs = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
        least = variances[0].clamp(min=0) * len(variances) * torch.finfo(torch.float64).eps
        axes = (axes * signs).masked_fill(variances <= least, 0.0)
        return Directions(axes.float().cpu(), (self._pivot + mean).float().cpu())


def fitted_pca(covariances: Mapping[int, Covariance]) -> Linear:
    """The principal components of every layer."""
    return pca({layer: covariance.directions() for layer, covariance in covariances.items()})


def pca(by_layer: Mapping[int, Directions]) -> Linear:
    """The basis of given components."""
    digest = hashlib.sha256(b"pca")
    for layer, own in sorted(by_layer.items()):
        digest.update(str(layer).encode())
        for tensor in (own.axes, own.centre):
            digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return Linear("pca", digest.hexdigest()[:16], by_layer)
