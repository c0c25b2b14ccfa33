"""Steps of the proximal Newton method for L1-penalised logistic regressions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

MAX_HALVINGS = 40
SUFFICIENT = 0.01  # share of the predicted decrease that a step must achieve (Armijo)
STRIPES = 4  # row blocks of a Hessian, each computed up to the diagonal: 5/8 of the products
LEAST_RIDGE = 1e-7  # relative to the mean curvature: about the rounding error of float32


@dataclass(frozen=True)
class LogisticLoss:
    """The loss ``sum_i importance_i log(1 + exp(-s_i margin_i))``, ``s_i = 2 target_i - 1``."""

    targets: Float[Tensor, "tags words"]
    importance: Float[Tensor, "tags words"]

    def value(self, margins: Float[Tensor, "tags words"]) -> Float[Tensor, " tags"]:
        """The loss of every tag."""
        return (self.importance * (softplus(margins) - self.targets * margins)).sum(dim=1)

    def residual(self, margins: Float[Tensor, "tags words"]) -> Float[Tensor, "tags words"]:
        """The derivative of the loss with respect to the log odds."""
        return self.importance * (margins.sigmoid() - self.targets)

    def curvature(self, margins: Float[Tensor, "tags words"]) -> Float[Tensor, "tags words"]:
        """The second derivative of the loss with respect to the log odds."""
        return self.importance * margins.sigmoid() * (-margins).sigmoid()


def hessian(
    inputs: Float[Tensor, "neurons words"],
    columns: Int[Tensor, " size"],
    curvature: Float[Tensor, " words"],
    words_at_once: int,
) -> Float[Tensor, "size_and_bias size_and_bias"]:
    """Second derivative of the loss with respect to some weights and the bias, which comes last.

    Computed in float32 with a small ridge that keeps it positive definite; this affects the steps
    but not the optimum.
    """
    size = len(columns) + 1
    matrix = inputs.new_zeros(size, size)
    edges = [size * stripe // STRIPES for stripe in range(STRIPES + 1)]
    stripes = list(zip(edges[:-1], edges[1:], strict=True))
    roots = curvature.sqrt().to(inputs)
    for first in range(0, len(roots), words_at_once):
        root = roots[first : first + words_at_once]
        weighted = torch.cat([inputs[:, first : first + words_at_once][columns] * root, root[None]])
        for start, end in stripes:
            matrix[start:end, :end].addmm_(weighted[start:end], weighted[:end].T)
    for start, end in stripes:
        matrix[:start, start:end] = matrix[start:end, :start].T
    precise = matrix.to(curvature)
    precise.diagonal().add_(LEAST_RIDGE * precise.diagonal().mean())
    return precise


def step_size(
    loss: LogisticLoss,
    margins: tuple[Float[Tensor, "tags words"], Float[Tensor, "tags words"]],
    weights: tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]],
    slope: Float[Tensor, " tags"],
    penalty: Float[Tensor, " tags"],
) -> Float[Tensor, " tags"]:
    """The first of the steps 1, 1/2, 1/4 ... to a target that achieves a sufficient decrease.

    ``margins`` and ``weights`` are the current values and those at the target; ``slope`` is the
    derivative of the loss along the step.
    """
    here = penalty * weights[0].abs().sum(dim=1)
    predicted = slope + penalty * weights[1].abs().sum(dim=1) - here
    before = loss.value(margins[0]) + here
    step = torch.ones_like(before)
    for _ in range(MAX_HALVINGS):
        new_penalty = penalty * torch.lerp(*weights, step[:, None]).abs().sum(dim=1)
        after = loss.value(torch.lerp(*margins, step[:, None])) + new_penalty
        enough = after <= before * (1 + 1e-14) + SUFFICIENT * step * predicted
        if enough.all():
            break
        step = torch.where(enough, step, step / 2)
    return step
