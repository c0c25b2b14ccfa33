"""Parts of a proximal Newton step for L1-penalised logistic regressions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

MAX_HALVINGS = 40
SUFFICIENT = 0.01  # share of the promised decrease that a step must bring (Armijo)
STRIPES = 4  # of a Hessian, each computed up to the diagonal: 5/8 of the products
LEAST_RIDGE = 1e-7  # of the mean curvature: about what rounding to float32 takes off


@dataclass(frozen=True)
class LogisticLoss:
    """``sum_i importance_i log(1 + exp(-s_i margin_i))`` of every tag, with ``s_i = 2 target_i - 1``."""

    targets: Float[Tensor, "tags words"]
    importance: Float[Tensor, "tags words"]

    def value(self, margins: Float[Tensor, "tags words"]) -> Float[Tensor, " tags"]:
        """The loss of every tag."""
        return (self.importance * (softplus(margins) - self.targets * margins)).sum(dim=1)

    def residual(self, margins: Float[Tensor, "tags words"]) -> Float[Tensor, "tags words"]:
        """The derivative of the loss in the log odds."""
        return self.importance * (margins.sigmoid() - self.targets)

    def curvature(self, margins: Float[Tensor, "tags words"]) -> Float[Tensor, "tags words"]:
        """The second derivative of the loss in the log odds."""
        return self.importance * margins.sigmoid() * (-margins).sigmoid()


def hessian(
    inputs: Float[Tensor, "neurons words"],
    columns: Int[Tensor, " size"],
    curvature: Float[Tensor, " words"],
    words_at_once: int,
) -> Float[Tensor, "size_and_bias size_and_bias"]:
    """Second derivative of the loss in some weights and the bias, which comes last.

    In float32, and a little raised so that it stays positive definite: it steers the steps, not where they end.
    """
    size = len(columns) + 1
    found = inputs.new_zeros(size, size)
    edges = [size * stripe // STRIPES for stripe in range(STRIPES + 1)]
    stripes = list(zip(edges[:-1], edges[1:], strict=True))
    roots = curvature.sqrt().to(inputs)
    for first in range(0, len(roots), words_at_once):
        root = roots[first : first + words_at_once]
        weighted = torch.cat([inputs[:, first : first + words_at_once][columns] * root, root[None]])
        for start, end in stripes:
            found[start:end, :end].addmm_(weighted[start:end], weighted[:end].T)
    for start, end in stripes:
        found[:start, start:end] = found[start:end, :start].T
    precise = found.to(curvature)
    precise.diagonal().add_(LEAST_RIDGE * precise.diagonal().mean())
    return precise


def step_size(
    loss: LogisticLoss,
    margins: tuple[Float[Tensor, "tags words"], Float[Tensor, "tags words"]],
    weights: tuple[Float[Tensor, "tags neurons"], Float[Tensor, "tags neurons"]],
    slope: Float[Tensor, " tags"],
    penalty: Float[Tensor, " tags"],
) -> Float[Tensor, " tags"]:
    """The largest of 1, 1/2, 1/4 ... of the way to a target that brings enough of the promised decrease.

    Margins and weights are those here and those at the target; the slope is that of the loss along the way.
    """
    here = penalty * weights[0].abs().sum(dim=1)
    promised = slope + penalty * weights[1].abs().sum(dim=1) - here
    before = loss.value(margins[0]) + here
    step = torch.ones_like(before)
    for _ in range(MAX_HALVINGS):
        tried = penalty * torch.lerp(*weights, step[:, None]).abs().sum(dim=1)
        after = loss.value(torch.lerp(*margins, step[:, None])) + tried
        enough = after <= before * (1 + 1e-14) + SUFFICIENT * step * promised
        if enough.all():
            break
        step = torch.where(enough, step, step / 2)
    return step
