"""L1-penalised logistic regressions of many tags on the same activations, solved together.

Proximal Newton (Lee, Sun & Saunders 2014): the loss is replaced by its second-order expansion on
the working set of each tag, the non-zero weights and the neurons that most violate the optimality
conditions (Friedman, Hastie & Tibshirani 2010). Log odds and gradients of all tags are one matrix
product over the activations, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from keyneurons.selection.solvers.newton import LogisticLoss, hessian, step_size
from keyneurons.selection.solvers.quadratic import minimise_quadratic, violation

MAX_STEPS = 300
INNER_TOLERANCE = 0.03  # violation left by the quadratic solver, relative to that of the step
REUSE_RATIO = 0.2  # a Hessian is reused if its last use reduced the violation to this share or less
JOINING = 20  # maximum number of neurons added to a working set at once
JOINING_SHARE = 0.3  # or this share of its size, if larger; most violators of a new penalty end with weight 0
BYTES_AT_ONCE = 2**23  # of converted or weighted activations: fits the last-level cache of a processor


@dataclass(frozen=True)
class Solution:
    """Weights and bias of every tag, log odds and gradient there; ``solve`` updates it in place."""

    weights: Float[Tensor, "tags neurons"]
    bias: Float[Tensor, " tags"]
    margins: Float[Tensor, "tags words"]
    gradient: Float[Tensor, "tags neurons"]


@dataclass(frozen=True)
class Expansion:
    """The Hessian of a tag on some columns and the bias, and the violation at its last use."""

    columns: Int[Tensor, " size"]
    hessian: Float[Tensor, "size_and_bias size_and_bias"]
    error: float

    def covers(self, columns: Int[Tensor, " fewer"]) -> bool:
        """Whether the Hessian includes these columns."""
        return bool(torch.isin(columns, self.columns).all())

    def restrict(self, columns: Int[Tensor, " fewer"], error: float) -> Expansion:
        """The expansion restricted to some of its columns."""
        if len(columns) == len(self.columns):
            return Expansion(columns, self.hessian, error)
        at = torch.cat([torch.searchsorted(self.columns, columns), columns.new_tensor([len(self.columns)])])
        return Expansion(columns, self.hessian[at][:, at], error)


@dataclass(frozen=True)
class LogisticProblem:
    """One problem per tag: ``sum_i importance_i log(1 + exp(-s_i (w x_i + b))) + penalty |w|_1``.

    Minimised over w and b with ``s_i = 2 target_i - 1``; the importance of the words sums to 1 for
    each tag; the bias b is not penalised.
    """

    inputs: Float[Tensor, "neurons words"]
    targets: Float[Tensor, "tags words"]
    importance: Float[Tensor, "tags words"]

    def start(self) -> Solution:
        """Zero weights and the optimal bias: the solution if the penalty is large enough."""
        share = (self.importance * self.targets).sum(dim=1)
        gradient = self._gradient(self.importance * (share[:, None] - self.targets))
        margins = share.logit()[:, None].expand_as(self.targets).clone()
        return Solution(torch.zeros_like(gradient), share.logit(), margins, gradient)

    def solve(
        self, solution: Solution, tags: Int[Tensor, " some"], penalty: Float[Tensor, " some"], tolerance: float
    ) -> None:
        """Move some tags of a solution to the optimum at their penalties (warm start).

        At the optimum no subgradient exceeds ``tolerance * penalty`` in magnitude, so the objective
        is above its minimum by at most ``tolerance * penalty * |w - w_optimal|_1``, and usually by
        much less.

        Raises:
            ValueError: If the tolerance is not reached.
        """
        expansions: dict[int, Expansion] = {}
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
            self._step(solution, tags, penalty, error, expansions)
        raise ValueError(
            f"L1 probes of tags {tags.tolist()} did not reach tolerance {tolerance} in {MAX_STEPS} steps, "
            f"got {(error / penalty).max().item()}"
        )

    def _step(
        self,
        solution: Solution,
        tags: Int[Tensor, " some"],
        penalty: Float[Tensor, " some"],
        error: Float[Tensor, " some"],
        expansions: dict[int, Expansion],
    ) -> None:
        """Step towards the minimum of each tag's quadratic."""
        loss = LogisticLoss(self.targets[tags], self.importance[tags])
        weights, bias, margins = solution.weights[tags], solution.bias[tags], solution.margins[tags]
        residual, curvature = loss.residual(margins), loss.curvature(margins)
        target, target_bias = torch.zeros_like(weights), torch.empty_like(bias)
        for i, (tag, gradient) in enumerate(zip(tags.tolist(), solution.gradient[tags], strict=True)):
            columns = working_set(weights[i], gradient, penalty[i])
            here = float(error[i])
            old = expansions.get(tag)
            if old is None or here > REUSE_RATIO * old.error or not old.covers(columns):
                new_hessian = hessian(self.inputs, columns, curvature[i], self._rows(len(columns) + 1))
                expansions[tag] = Expansion(columns, new_hessian, here)
            expansions[tag] = expansions[tag].restrict(columns, here)
            minimum = minimise_quadratic(
                torch.cat([gradient[columns], residual[i].sum()[None]])[None],
                expansions[tag].hessian[None],
                torch.cat([weights[i, columns], bias[i, None]])[None],
                torch.cat([penalty[i].expand(len(columns)), penalty.new_zeros(1)])[None],
                INNER_TOLERANCE * error[i, None],
            )[0]
            target[i, columns], target_bias[i] = minimum[:-1], minimum[-1]
        slope = (solution.gradient[tags] * (target - weights)).sum(dim=1) + residual.sum(dim=1) * (target_bias - bias)
        ahead = self._margins(target, target_bias)
        step = step_size(loss, (margins, ahead), (weights, target), slope, penalty)
        solution.weights[tags] = torch.lerp(weights, target, step[:, None])  # exact at 1, so zeros stay 0
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
        """Number of float64 rows processed at once."""
        return max(1, BYTES_AT_ONCE // (8 * width))


def working_set(
    weights: Float[Tensor, " neurons"], gradient: Float[Tensor, " neurons"], penalty: Float[Tensor, ""]
) -> Int[Tensor, " size"]:
    """Indices of the non-zero weights and the largest violators of optimality at 0; ascending."""
    inside = weights != 0
    excess = (gradient.abs() - penalty).clamp(min=0).masked_fill(inside, 0.0)
    at_most = max(JOINING, int(JOINING_SHARE * int(inside.sum())))
    strongest = excess.sort(descending=True, stable=True).indices[: min(at_most, int((excess > 0).sum()))]
    return inside.index_fill(0, strongest, True).nonzero().squeeze(1)
