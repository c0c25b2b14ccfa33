"""Minimising L1-penalised quadratics."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

MAX_STEPS = 200
MAX_HALVINGS = 30
RIDGES = (0.0, 1e-6, 1e-4, 1e-2)  # shares of the mean curvature that may be added to make it positive definite


def violation(
    gradient: Float[Tensor, "*tags weights"],
    weights: Float[Tensor, "*tags weights"],
    penalty: Float[Tensor, "*tags weights"],
) -> Float[Tensor, "*tags"]:
    """Largest distance of a subgradient of ``loss + penalty |w|`` from 0, which it is at the minimum."""
    at_zero = (gradient.abs() - penalty).clamp(min=0)
    return torch.where(weights != 0, (gradient + penalty * weights.sign()).abs(), at_zero).amax(dim=-1)


def soft_threshold(
    x: Float[Tensor, "*tags weights"], by: Float[Tensor, "*tags weights"]
) -> Float[Tensor, "*tags weights"]:
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

    By turns a proximal gradient step, which finds the weights that are not 0 and their signs and alone would converge
    (Beck & Teboulle 2009), and a Newton step among those weights, a weight that would change its sign stopping at 0
    (Bertsekas 1982), as far as it decreases the objective. Once the signs are right the Newton step is exact.

    Returns:
        Weights whose ``violation`` is within the tolerance, or as near to it as ``MAX_STEPS`` steps come.
    """
    bound = torch.minimum(torch.linalg.matrix_norm(hessian), torch.linalg.matrix_norm(hessian, torch.inf))
    step = 1 / bound.clamp(min=torch.finfo(bound.dtype).tiny ** 0.5)
    found = []
    for each in zip(gradient, hessian, start, penalty, step.tolist(), tolerance.tolist(), strict=True):
        found.append(_minimise(*each))
    return torch.stack(found)


def _minimise(
    gradient: Float[Tensor, " weights"],
    hessian: Float[Tensor, "weights weights"],
    start: Float[Tensor, " weights"],
    penalty: Float[Tensor, " weights"],
    step: float,
    tolerance: float,
) -> Float[Tensor, " weights"]:
    weights, slope = start, gradient
    for _ in range(MAX_STEPS):
        weights = soft_threshold(weights - step * slope, step * penalty)
        slope = gradient + hessian @ (weights - start)
        weights = _newton_step(hessian, weights, slope, penalty)
        slope = gradient + hessian @ (weights - start)
        if violation(slope, weights, penalty).item() <= tolerance:
            break
    return weights


def _newton_step(
    hessian: Float[Tensor, "weights weights"],
    weights: Float[Tensor, " weights"],
    slope: Float[Tensor, " weights"],
    penalty: Float[Tensor, " weights"],
) -> Float[Tensor, " weights"]:
    """The largest of 1, 1/2, 1/4 ... of a Newton step on the weights that are not 0 that decreases the objective."""
    free = ((weights != 0) | (penalty == 0)).nonzero().squeeze(1)
    curvature, here, cost = hessian[free][:, free], weights[free], penalty[free]
    slope_here = slope[free]
    way = _solve(curvature, -(slope_here + cost * here.sign()))
    if way is None:
        return weights
    for halvings in range(MAX_HALVINGS):
        new = here + way / 2**halvings
        new = new.masked_fill((new * here < 0) & (cost > 0), 0.0)
        change = new - here
        gain = slope_here @ change + change @ (curvature @ change) / 2 + cost @ (new.abs() - here.abs())
        if gain < 0:
            return weights.scatter(0, free, new)
    return weights


def _solve(matrix: Float[Tensor, "free free"], right: Float[Tensor, " free"]) -> Float[Tensor, " free"] | None:
    """Solve with a positive definite matrix, or one made so by a ridge; None where the ridges do not help."""
    diagonal = matrix.diagonal().mean()
    for ridge in RIDGES:
        raised = matrix.clone()
        raised.diagonal().add_(ridge * diagonal)
        factor, failed = torch.linalg.cholesky_ex(raised)
        if not failed:
            return torch.cholesky_solve(right[:, None], factor).squeeze(1)
    return None
