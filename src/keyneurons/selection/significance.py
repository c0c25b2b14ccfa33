"""p-values and their correction for the number of neurons and tags."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Relative tolerance for ties: permutations that do not move a tag's words differ by rounding.
ROUNDING = 1e-6


def student_p_values(
    unexplained: Float[Tensor, "tags neurons"], degrees: int | Float[Tensor, "tags neurons"]
) -> Float[Tensor, "tags neurons"]:
    """Two-sided p-values of Student's t from the unexplained share ``df / (df + t^2)``."""
    from scipy.special import betainc

    half_degrees = degrees.cpu().double().numpy() / 2 if isinstance(degrees, Tensor) else degrees / 2
    return torch.from_numpy(betainc(half_degrees, 0.5, unexplained.cpu().double().numpy())).to(unexplained)


def benjamini_hochberg(p: Float[Tensor, "*tags n"]) -> Float[Tensor, "*tags n"]:
    """Adjust p-values along the last axis: ``min over j >= i of p_(j) n / j``, at most 1.

    Controls the false discovery rate under independence and positive dependence (Benjamini &
    Hochberg 1995).

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
    """Family-wise p-values by the max statistic: ``(1 + # maxima at least as strong) / (1 + n)``.

    Single-step method of Westfall & Young 1993, for each tag; ``null`` is the largest absolute
    score of each tag under each permutation of the tags. The observed tagging counts as one
    permutation (Phipson & Smyth 2010).

    Returns:
        The p-values, in ``1 / (1 + n)..1``.

    Raises:
        ValueError: If there are no permutations.
    """
    if not len(null):
        raise ValueError("a permutation test needs at least 1 permutation, got 0")
    ordered = null.to(scores).T.contiguous().sort(dim=1).values
    weaker = torch.searchsorted(ordered, (scores.abs() * (1 - ROUNDING)).contiguous())
    return (1 + len(null) - weaker).to(scores) / (1 + len(null))


def survivors(p_adjusted: Float[Tensor, "tags neurons"], alpha: float) -> Bool[Tensor, "tags neurons"]:
    """Significant neurons of each tag, from p-values adjusted over the neurons of each tag.

    Corrects for the number of tags: a tag is significant if its smallest p-value is, by
    Benjamini-Hochberg over all tags. Its neurons are then tested at ``alpha`` times the share of
    significant tags (Benjamini & Bogomolov 2014, JRSS B 76:297). If no neuron marks any tag, all
    sets are empty with probability at least 1 - alpha; if all tags are significant, each is tested
    at alpha.

    Returns:
        Whether each neuron is significant.

    Raises:
        ValueError: If alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    significant_tags = benjamini_hochberg(p_adjusted.amin(dim=1)) <= alpha
    level = alpha * significant_tags.double().mean()
    return (p_adjusted <= level) & significant_tags[:, None]
