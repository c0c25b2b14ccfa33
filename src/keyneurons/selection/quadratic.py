"""Minimising many L1-penalised quadratics at once."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

MAX_STEPS = 2000
STEPS_BETWEEN_CHECKS = 10


def violation(
    gradient: Float[Tensor, "tags weights"],
    weights: Float[Tensor, "tags weights"],
    penalty: Float[Tensor, "tags weights"],
) -> Float[Tensor, " tags"]:
    """Largest distance of a subgradient of ``loss + penalty |w|`` from 0, which it is at the minimum."""
    at_zero = (gradient.abs() - penalty).clamp(min=0)
    return torch.where(weights != 0, (gradient + penalty * weights.sign()).abs(), at_zero).amax(dim=1)


def soft_threshold(
    x: Float[Tensor, "tags weights"], by: Float[Tensor, "tags weights"]
) -> Float[Tensor, "tags weights"]:
    """The proximal map of ``by |x|``: every number nearer to 0 by this much, and no further than 0."""
    return x - x.clamp(-by, by)


def minimise_quadratic(
    gradient: Float[Tensor, "tags weights"],
    hessian: Float[Tensor, "tags weights weights"],
    start: Float[Tensor, "tags weights"],
    penalty: Float[Tensor, "tags weights"],
    tolerance: Float[Tensor, " tags"],
) -> Float[Tensor, "tags weights"]:
    """Minimise ``gradient (v - start) + (v - start) hessian (v - start) / 2 + penalty |v|`` over v, tag by tag.

    Accelerated proximal gradient (Beck & Teboulle 2009), the momentum dropped where it points uphill (O'Donoghue &
    Candes 2015). The step is the inverse of a bound on the largest eigenvalue: the lesser of two matrix norms.

    Returns:
        Weights whose ``violation`` is within the tolerance, or as near to it as ``MAX_STEPS`` steps come.
    """
    bound = torch.minimum(torch.linalg.matrix_norm(hessian), torch.linalg.matrix_norm(hessian, torch.inf))
    step = 1 / bound.clamp(min=torch.finfo(bound.dtype).tiny ** 0.5)[:, None]
    weights, ahead = start, start
    pace = torch.ones_like(step)
    for count in range(1, MAX_STEPS + 1):
        slope = gradient + _times(hessian, ahead - start)
        new = soft_threshold(ahead - step * slope, step * penalty)
        uphill = ((ahead - new) * (new - weights)).sum(dim=1, keepdim=True) > 0
        pace = torch.where(uphill, 1.0, pace)
        next_pace = (1 + (1 + 4 * pace.square()).sqrt()) / 2
        ahead = new + (pace - 1) / next_pace * (new - weights)
        weights, pace = new, next_pace
        if count % STEPS_BETWEEN_CHECKS == 0:
            slope = gradient + _times(hessian, weights - start)
            if (violation(slope, weights, penalty) <= tolerance).all():
                break
    return weights


def _times(
    matrices: Float[Tensor, "tags weights weights"], vectors: Float[Tensor, "tags weights"]
) -> Float[Tensor, "tags weights"]:
    return (matrices @ vectors[:, :, None]).squeeze(2)
