"""p-values, and their correction for the number of neurons and tags looked at."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ROUNDING = 1e-9  # share of a score: permutations that leave a tag's words in place differ from it by rounding, and tie


def student_p_values(
    unexplained: Float[Tensor, "tags neurons"], degrees: int | Float[Tensor, "tags neurons"]
) -> Float[Tensor, "tags neurons"]:
    """Two-sided p-values of Student's t, given ``degrees / (degrees + t^2)``, the share of variance not explained."""
    from scipy.special import betainc

    half_degrees = degrees.cpu().double().numpy() / 2 if isinstance(degrees, Tensor) else degrees / 2
    return torch.from_numpy(betainc(half_degrees, 0.5, unexplained.cpu().double().numpy())).to(unexplained)


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


def max_statistic_p_values(
    scores: Float[Tensor, "tags neurons"], null: Float[Tensor, "permutations tags"]
) -> Float[Tensor, "tags neurons"]:
    """Family-wise p-values of every neuron: ``(1 + # permutations whose strongest neuron is as strong) / (1 + n)``.

    Westfall & Young 1993, single step, tag by tag; ``null`` has the largest magnitude of a score of each tag under
    each permutation of the tags. The observed tagging counts as one (Phipson & Smyth 2010).

    Returns:
        The p-values, in ``1 / (1 + n)..1``.

    Raises:
        ValueError: If there is no permutation.
    """
    if not len(null):
        raise ValueError("a permutation test needs at least 1 permutation, got 0")
    ordered = null.to(scores).T.contiguous().sort(dim=1).values
    weaker = torch.searchsorted(ordered, (scores.abs() * (1 - ROUNDING)).contiguous())
    return (1 + len(null) - weaker).to(scores) / (1 + len(null))


def survivors(p_adjusted: Float[Tensor, "tags neurons"], alpha: float) -> Bool[Tensor, "tags neurons"]:
    """Which neurons of which tags stand, given p-values adjusted over the neurons of each tag.

    Looking at many tags is paid for too: a tag counts if its smallest p-value stands among those of all tags
    (Benjamini-Hochberg), and its neurons are then held to ``alpha`` times the share of tags that count
    (Benjamini & Bogomolov 2014, JRSS B 76:297). If no tag is marked by any neuron, all sets are empty but for a
    probability of alpha; where every tag counts, each is held to alpha itself.

    Returns:
        Whether each neuron stands.

    Raises:
        ValueError: If alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    counts = benjamini_hochberg(p_adjusted.amin(dim=1)) <= alpha
    level = alpha * counts.double().mean()
    return (p_adjusted <= level) & counts[:, None]
