"""Minimisation of L1-penalised quadratics."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

MAX_STEPS = 200
MAX_HALVINGS = 30
RIDGES = (0.0, 1e-6, 1e-4, 1e-2)  # relative to the mean curvature, tried in turn until positive definite


def violation(
    gradient: Float[Tensor, "*tags weights"],
    weights: Float[Tensor, "*tags weights"],
    penalty: Float[Tensor, "*tags weights"],
) -> Float[Tensor, "*tags"]:
    """Largest magnitude of a subgradient of ``loss + penalty |w|``; 0 at the minimum."""
    at_zero = (gradient.abs() - penalty).clamp(min=0)
    return torch.where(weights != 0, (gradient + penalty * weights.sign()).abs(), at_zero).amax(dim=-1)


def soft_threshold(
    x: Float[Tensor, "*tags weights"], by: Float[Tensor, "*tags weights"]
) -> Float[Tensor, "*tags weights"]:
    """The proximal map of ``by |x|``: moves every number towards 0 by ``by``, at most to 0."""
    return x - x.clamp(-by, by)


def minimise_quadratic(
    gradient: Float[Tensor, "tags weights"],
    hessian: Float[Tensor, "tags weights weights"],
    start: Float[Tensor, "tags weights"],
    penalty: Float[Tensor, "tags weights"],
    tolerance: Float[Tensor, " tags"],
) -> Float[Tensor, "tags weights"]:
    """Minimise an L1-penalised quadratic of every tag.

    The objective is ``gradient (v - start) + (v - start) hessian (v - start) / 2 + penalty |v|``
    over v. Two steps alternate. A proximal gradient step, which alone would converge (Beck &
    Teboulle 2009), determines the non-zero weights and their signs. A Newton step on these weights
    follows, in which a weight that would change sign stops at 0 (Bertsekas 1982), as far as it
    decreases the objective. With the right signs the Newton step is exact.

    Returns:
        Weights whose ``violation`` is within the tolerance, or those after ``MAX_STEPS`` steps.
    """
    bound = torch.minimum(torch.linalg.matrix_norm(hessian), torch.linalg.matrix_norm(hessian, torch.inf))
    step = 1 / bound.clamp(min=torch.finfo(bound.dtype).tiny ** 0.5)
    minima = []
    for each in zip(gradient, hessian, start, penalty, step.tolist(), tolerance.tolist(), strict=True):
        minima.append(_minimise(*each))
    return torch.stack(minima)


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
    """Newton step on the non-zero weights, halved until it decreases the objective."""
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
    """Solve with a positive definite matrix, with a ridge if needed; None if no ridge suffices."""
    diagonal = matrix.diagonal().mean()
    for ridge in RIDGES:
        raised = matrix.clone()
        raised.diagonal().add_(ridge * diagonal)
        factor, failed = torch.linalg.cholesky_ex(raised)
        if not failed:
            return torch.cholesky_solve(right[:, None], factor).squeeze(1)
    return None
