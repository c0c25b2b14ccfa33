"""Proximal Newton steps for many small L1-penalised logistic regressions at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from keyneurons.selection.quadratic import minimise_quadratic, violation

MAX_STEPS = 100
MAX_HALVINGS = 40
INNER_TOLERANCE = 0.03  # share of a step's violation that the next quadratic may leave
SUFFICIENT = 0.01  # share of the promised decrease that a step must bring (Armijo)


@dataclass(frozen=True)
class LogisticLoss:
    """``sum_i importance_i log(1 + exp(-s_i w x_i))`` of every tag on inputs of its own, the last of them all 1.

    The rough inputs are the same in lower precision, enough for the Hessian: that steers the steps, not where they end.
    """

    inputs: Float[Tensor, "tags size words"]
    rough_inputs: Float[Tensor, "tags size words"]
    targets: Float[Tensor, "tags words"]
    importance: Float[Tensor, "tags words"]

    def margins(self, weights: Float[Tensor, "tags size"]) -> Float[Tensor, "tags words"]:
        """The log odds of every word."""
        return (weights[:, None] @ self.inputs).squeeze(1)

    def value(self, margins: Float[Tensor, "tags words"]) -> Float[Tensor, " tags"]:
        """The loss of every tag."""
        return (self.importance * (softplus(margins) - self.targets * margins)).sum(dim=1)

    def residual(self, margins: Float[Tensor, "tags words"]) -> Float[Tensor, "tags words"]:
        """The derivative of the loss in the log odds."""
        return self.importance * (margins.sigmoid() - self.targets)

    def gradient(self, residual: Float[Tensor, "tags words"]) -> Float[Tensor, "tags size"]:
        """The derivative of the loss in the weights."""
        return (self.inputs @ residual[:, :, None]).squeeze(2)

    def hessian(self, margins: Float[Tensor, "tags words"]) -> Float[Tensor, "tags size size"]:
        """The second derivative of the loss in the weights, to the precision of the rough inputs."""
        curvature = (self.importance * margins.sigmoid() * (-margins).sigmoid()).to(self.rough_inputs)
        return ((self.rough_inputs * curvature[:, None]) @ self.rough_inputs.mT).to(margins)


def minimise(
    loss: LogisticLoss, start: Float[Tensor, "tags size"], penalty: Float[Tensor, " tags"], tolerance: float
) -> tuple[Float[Tensor, "tags size"], Float[Tensor, "tags words"]]:
    """Minimise ``loss + penalty |w|_1``, the last weight (the bias) unpenalised, from a start.

    Returns:
        Weights whose ``violation`` is within ``tolerance * penalty``, and the derivative of the loss in the log odds.

    Raises:
        ValueError: If they are not reached.
    """
    penalties = penalty[:, None].expand_as(start).clone()
    penalties[:, -1] = 0
    weights, margins = start, loss.margins(start)
    for _ in range(MAX_STEPS):
        residual = loss.residual(margins)
        gradient = loss.gradient(residual)
        error = violation(gradient, weights, penalties)
        if (error <= tolerance * penalty).all():
            return weights, residual
        inner = INNER_TOLERANCE * error.clamp(min=tolerance * penalty)
        target = minimise_quadratic(gradient, loss.hessian(margins), weights, penalties, inner)
        step = _step(loss, weights, target, margins, gradient, penalties)
        weights = torch.where(step == 1, target, weights + step * (target - weights))  # keeps exact zeros
        margins = loss.margins(weights)
    raise ValueError(
        f"L1 probe not within tolerance {tolerance} after {MAX_STEPS} steps, got {(error / penalty).max().item()}"
    )


def _step(
    loss: LogisticLoss,
    weights: Float[Tensor, "tags size"],
    target: Float[Tensor, "tags size"],
    margins: Float[Tensor, "tags words"],
    gradient: Float[Tensor, "tags size"],
    penalties: Float[Tensor, "tags size"],
) -> Float[Tensor, "tags 1"]:
    """The largest of 1, 1/2, 1/4 ... of the way to the target that brings enough of the promised decrease."""
    way, ahead = target - weights, loss.margins(target) - margins
    here = (penalties * weights.abs()).sum(dim=1)
    promised = (gradient * way).sum(dim=1) + (penalties * target.abs()).sum(dim=1) - here
    before = loss.value(margins) + here
    step = torch.ones_like(before)
    for _ in range(MAX_HALVINGS):
        tried = weights + step[:, None] * way
        after = loss.value(margins + step[:, None] * ahead) + (penalties * tried.abs()).sum(dim=1)
        enough = after <= before * (1 + 1e-14) + SUFFICIENT * step * promised
        if enough.all():
            break
        step = torch.where(enough, step, step / 2)
    return step[:, None]
