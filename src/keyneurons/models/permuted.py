"""Permuted weights: a control that keeps a model's embeddings and loses what its blocks learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn


def permute_matrices(blocks: nn.Module, seed: int) -> None:
    """Permute the entries of every weight matrix of the blocks at random.

    A matrix keeps the distribution of its values and loses their arrangement. In a stack of
    matrices, such as the experts of a layer, each is permuted on its own. Vectors (the weights of
    norms, biases) and buffers are kept. The draw depends on the seed and the shapes only, not on
    device or number format.
    """
    import torch

    random = np.random.default_rng(seed)
    for parameter in blocks.parameters():
        if parameter.ndim < 2:
            continue
        matrices = parameter.detach().reshape(-1, parameter.shape[-2] * parameter.shape[-1])
        permuted = [matrix[torch.from_numpy(random.permutation(len(matrix)))] for matrix in matrices]
        parameter.data = torch.stack(permuted).reshape(parameter.shape)


def describe_weights(seed: int | None) -> str:
    """The weights in words: trained, or permuted with a seed."""
    return "trained weights" if seed is None else f"permuted weights (seed {seed})"


def describe_model(name: str, seed: int | None) -> str:
    """A model's id, with its weights unless they are the trained ones."""
    return name if seed is None else f"{name} with {describe_weights(seed)}"
