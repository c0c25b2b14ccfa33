"""L1-penalised logistic regressions of many tags on the same activations, solved together.

Proximal Newton (Lee, Sun & Saunders 2014): the loss is replaced by its second-order expansion on a working set of
each tag, the weights other than 0 and the neurons that most violate the conditions of optimality (Friedman, Hastie &
Tibshirani 2010). Log odds and gradients of all tags are one matrix product over the activations, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from keyneurons.selection.solvers.newton import LogisticLoss, hessian, step_size
from keyneurons.selection.solvers.quadratic import minimise_quadratic, violation

MAX_STEPS = 300
INNER_TOLERANCE = 0.03  # share of a step's violation that its quadratic may leave
STILL_GOOD = 0.2  # a Hessian is used again where its last use took this share of the violation
JOINING = 20  # neurons that may join a working set at once, or
JOINING_SHARE = 0.3  # of its weights, if that is more: most violators of a new penalty need no weight in the end
BYTES_AT_ONCE = 2**23  # of activations in other precision or weighted: what fits into the last cache of a processor


@dataclass(frozen=True)
class Solution:
    """Weights and bias of every tag, and the log odds and the gradient of the loss there; solving writes into them."""

    weights: Float[Tensor, "tags neurons"]
    bias: Float[Tensor, " tags"]
    margins: Float[Tensor, "tags words"]
    gradient: Float[Tensor, "tags neurons"]


@dataclass(frozen=True)
class Expansion:
    """The Hessian of a tag on some columns and the bias, and the violation where it was last used."""

    columns: Int[Tensor, " size"]
    hessian: Float[Tensor, "size_and_bias size_and_bias"]
    error: float

    def holds(self, columns: Int[Tensor, " fewer"]) -> bool:
        """Whether it is known on these columns."""
        return bool(torch.isin(columns, self.columns).all())

    def of(self, columns: Int[Tensor, " fewer"], error: float) -> Expansion:
        """The same on some of its columns."""
        if len(columns) == len(self.columns):
            return Expansion(columns, self.hessian, error)
        at = torch.cat([torch.searchsorted(self.columns, columns), columns.new_tensor([len(self.columns)])])
        return Expansion(columns, self.hessian[at][:, at], error)


@dataclass(frozen=True)
class LogisticProblem:
    """One problem for each tag: minimise ``sum_i importance_i log(1 + exp(-s_i (w x_i + b))) + penalty |w|_1``.

    ``s_i = 2 target_i - 1``; the importance of the words of a tag's problem sums to 1; the bias b is not penalised.
    """

    inputs: Float[Tensor, "neurons words"]
    targets: Float[Tensor, "tags words"]
    importance: Float[Tensor, "tags words"]

    def start(self) -> Solution:
        """No weights and the best bias: the solution at penalties from the largest absolute gradient upwards."""
        share = (self.importance * self.targets).sum(dim=1)
        gradient = self._gradient(self.importance * (share[:, None] - self.targets))
        margins = share.logit()[:, None].expand_as(self.targets).clone()
        return Solution(torch.zeros_like(gradient), share.logit(), margins, gradient)

    def solve(
        self, solution: Solution, tags: Int[Tensor, " some"], penalty: Float[Tensor, " some"], tolerance: float
    ) -> None:
        """Move some tags of a solution to the optimum at their penalties, from where they are.

        No subgradient is then further from 0 than ``tolerance * penalty``, so that the objective is above its minimum
        by at most ``tolerance * penalty * |w - w_optimal|_1``, and mostly by much less.

        Raises:
            ValueError: If that is not reached.
        """
        kept: dict[int, Expansion] = {}
        for _ in range(MAX_STEPS):
            loss = LogisticLoss(self.targets[tags], self.importance[tags])
            residual = loss.residual(solution.margins[tags])
            penalties = penalty[:, None].expand_as(solution.weights[tags])
            error = violation(solution.gradient[tags], solution.weights[tags], penalties)
            error = torch.maximum(error, residual.sum(dim=1).abs())
            left = error > tolerance * penalty
            if not left.any():
                return
            tags, penalty, error = tags[left], penalty[left], error[left]
            self._step(solution, tags, penalty, error, kept)
        raise ValueError(
            f"L1 probes of tags {tags.tolist()} not within tolerance {tolerance} after {MAX_STEPS} steps, "
            f"got {(error / penalty).max().item()}"
        )

    def _step(
        self,
        solution: Solution,
        tags: Int[Tensor, " some"],
        penalty: Float[Tensor, " some"],
        error: Float[Tensor, " some"],
        kept: dict[int, Expansion],
    ) -> None:
        """Go towards the minimum of the quadratic of every tag."""
        loss = LogisticLoss(self.targets[tags], self.importance[tags])
        weights, bias, margins = solution.weights[tags], solution.bias[tags], solution.margins[tags]
        residual, curvature = loss.residual(margins), loss.curvature(margins)
        target, target_bias = torch.zeros_like(weights), torch.empty_like(bias)
        for i, (tag, gradient) in enumerate(zip(tags.tolist(), solution.gradient[tags], strict=True)):
            columns = working_set(weights[i], gradient, penalty[i])
            here = float(error[i])
            if tag not in kept or here > STILL_GOOD * kept[tag].error or not kept[tag].holds(columns):
                made = hessian(self.inputs, columns, curvature[i], self._rows(len(columns) + 1))
                kept[tag] = Expansion(columns, made, here)
            kept[tag] = kept[tag].of(columns, here)
            found = minimise_quadratic(
                torch.cat([gradient[columns], residual[i].sum()[None]])[None],
                kept[tag].hessian[None],
                torch.cat([weights[i, columns], bias[i, None]])[None],
                torch.cat([penalty[i].expand(len(columns)), penalty.new_zeros(1)])[None],
                INNER_TOLERANCE * error[i, None],
            )[0]
            target[i, columns], target_bias[i] = found[:-1], found[-1]
        slope = (solution.gradient[tags] * (target - weights)).sum(dim=1) + residual.sum(dim=1) * (target_bias - bias)
        ahead = self._margins(target, target_bias)
        step = step_size(loss, (margins, ahead), (weights, target), slope, penalty)
        solution.weights[tags] = torch.lerp(weights, target, step[:, None])  # exact at 1, so zeros stay so
        solution.bias[tags] = torch.lerp(bias, target_bias, step)
        solution.margins[tags] = torch.lerp(margins, ahead, step[:, None])
        solution.gradient[tags] = self._gradient(loss.residual(solution.margins[tags]))

    def _margins(
        self, weights: Float[Tensor, "some neurons"], bias: Float[Tensor, " some"]
    ) -> Float[Tensor, "some words"]:
        margins = bias[:, None].expand(-1, self.inputs.shape[1]).clone()
        for some in torch.split((weights != 0).any(dim=0).nonzero().squeeze(1), self._rows(self.inputs.shape[1])):
            margins.addmm_(weights[:, some], self.inputs[some].to(weights))
        return margins

    def _gradient(self, residual: Float[Tensor, "some words"]) -> Float[Tensor, "some neurons"]:
        parts = torch.split(self.inputs, self._rows(self.inputs.shape[1]))
        return torch.cat([residual @ part.to(residual).T for part in parts], dim=1)

    def _rows(self, width: int) -> int:
        """Rows of float64 that are worked on at once."""
        return max(1, BYTES_AT_ONCE // (8 * width))


def working_set(
    weights: Float[Tensor, " neurons"], gradient: Float[Tensor, " neurons"], penalty: Float[Tensor, ""]
) -> Int[Tensor, " size"]:
    """The weights other than 0, and those that most violate the condition of optimality at 0; ascending."""
    inside = weights != 0
    excess = (gradient.abs() - penalty).clamp(min=0).masked_fill(inside, 0.0)
    at_most = max(JOINING, int(JOINING_SHARE * int(inside.sum())))
    strongest = excess.sort(descending=True, stable=True).indices[: min(at_most, int((excess > 0).sum()))]
    return inside.index_fill(0, strongest, True).nonzero().squeeze(1)
