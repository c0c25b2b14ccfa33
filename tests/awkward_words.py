"""Activations for tests of single methods, with the difficulties of real ones in a few columns."""

from __future__ import annotations

import torch


def awkward(dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """300 words of 4 tags, the last one rare.

    Neuron 2 has ties, 3 is constant, 4 is far from 0, 5 has outliers.
    """
    generator = torch.Generator().manual_seed(seed)
    tags = torch.randint(3, (300,), generator=generator)
    tags[[5, 80, 200]] = 3
    values = torch.randn(300, 8, generator=generator, dtype=torch.float64)
    values[:, 0] += tags
    values[:, 2] = values[:, 2].round()
    values[:, 3] = 0.1
    values[:, 4] = 1000 + 5 * values[:, 4]
    values[:, 5] = values[:, 5] ** 5
    return values.to(dtype), tags
