"""L1-penalised logistic regressions of many tags on the same activations, solved together.

The neurons that violate the conditions of optimality join the working set of their tag; there the loss is replaced by
its second-order expansion, and the penalised quadratics of all tags are minimised at once by proximal gradient steps
(proximal Newton: Lee, Sun & Saunders 2014; working sets: Friedman, Hastie & Tibshirani 2010). All of it is matrix
products, in float64 but for the gradient over all neurons, which only says who joins.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from keyneurons.selection.newton import LogisticLoss, minimise

MAX_ROUNDS = 100
BYTES_AT_ONCE = 2**29
BYTES_PER_INPUT = 16  # of a working set: in float64, in float32, and weighted for the Hessian


@dataclass(frozen=True)
class Solution:
    """Weights and bias of every tag and the gradient of the loss there; solving writes into them."""

    weights: Float[Tensor, "tags neurons"]
    bias: Float[Tensor, " tags"]
    gradient: Float[Tensor, "tags neurons"]


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
        return Solution(torch.zeros_like(gradient), share.logit(), gradient)

    def solve(
        self, solution: Solution, tags: Int[Tensor, " some"], penalty: Float[Tensor, " some"], tolerance: float
    ) -> None:
        """Move some tags of a solution to the optimum at their penalties, from where they are.

        No subgradient is then further from 0 than ``tolerance * penalty``, so that the objective is above its minimum
        by at most ``tolerance * penalty * |w - w_optimal|_1``, and mostly by much less.

        Raises:
            ValueError: If that is not reached.
        """
        limit = (penalty * (1 + tolerance))[:, None]
        working = (solution.weights[tags] != 0) | (solution.gradient[tags].abs() > limit)
        for _ in range(MAX_ROUNDS):
            self._solve_working(solution, tags, working, penalty, tolerance)
            joining = (solution.gradient[tags].abs() > limit) & ~working
            unsolved = joining.any(dim=1)
            if not unsolved.any():
                return
            tags, penalty, limit = tags[unsolved], penalty[unsolved], limit[unsolved]
            working = (working | joining)[unsolved]
        raise ValueError(f"no stable working set within {MAX_ROUNDS} rounds for the L1 probes of tags {tags.tolist()}")

    def _solve_working(
        self,
        solution: Solution,
        tags: Int[Tensor, " some"],
        working: Bool[Tensor, "some neurons"],
        penalty: Float[Tensor, " some"],
        tolerance: float,
    ) -> None:
        """Solve with all weights outside the working sets at 0, as many tags at a time as memory allows."""
        size = int(working.sum(dim=1).max())
        at_once = max(1, BYTES_AT_ONCE // (BYTES_PER_INPUT * self.inputs.shape[1] * (size + 1)))
        for here in torch.arange(len(tags), device=tags.device).chunk(-(-len(tags) // at_once)):
            some = tags[here]
            columns = working[here].int().argsort(dim=1, descending=True, stable=True)[:, :size]
            loss = self._loss(some, columns, working[here].gather(1, columns))
            start = torch.cat([solution.weights[some].gather(1, columns), solution.bias[some, None]], dim=1)
            weights, residual = minimise(loss, start, penalty[here], tolerance)
            solution.weights[some] = torch.zeros_like(solution.weights[some]).scatter(1, columns, weights[:, :-1])
            solution.bias[some] = weights[:, -1]
            solution.gradient[some] = self._gradient(residual)

    def _loss(
        self, tags: Int[Tensor, " some"], columns: Int[Tensor, "some size"], used: Bool[Tensor, "some size"]
    ) -> LogisticLoss:
        """The loss on some columns of each tag; a column that is not used is all 0 and so keeps its weight of 0."""
        rough = self.inputs.new_ones(*columns.shape[:1], columns.shape[1] + 1, self.inputs.shape[1])
        rough[:, :-1] = self.inputs[columns] * used[:, :, None]
        return LogisticLoss(rough.to(self.targets), rough, self.targets[tags], self.importance[tags])

    def _gradient(self, residual: Float[Tensor, "some words"]) -> Float[Tensor, "some neurons"]:
        return (residual.to(self.inputs) @ self.inputs.T).to(self.targets)
