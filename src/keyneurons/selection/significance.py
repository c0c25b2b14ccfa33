"""Correction of p-values for the number of neurons looked at."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def benjamini_hochberg(p: Float[Tensor, "*tags n"]) -> Float[Tensor, "*tags n"]:
    """Adjust p-values along the last axis: ``min over j >= i of p_(j) n / j``, at most 1.

    Benjamini & Hochberg 1995: the false discovery rate is held under independence and positive dependence.

    Returns:
        The adjusted p-values in float64, in the order of the input.

    Raises:
        ValueError: If a p-value is not in 0..1.
    """
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values must lie in 0..1, got {p.min().item()}..{p.max().item()}")
    n = p.shape[-1]
    ordered, order = p.double().sort(dim=-1, descending=True)
    rank = torch.arange(n, 0, -1, dtype=torch.float64, device=p.device)
    adjusted = (ordered * n / rank).cummin(dim=-1).values.clamp(max=1)
    return torch.empty_like(adjusted).scatter_(-1, order, adjusted)
