"""Weights of sparse linear probes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.l1_solver import LogisticProblem, Solution
from keyneurons.selection.scorer import checked_counts, wide

PATH_RATIO = 10 ** (-1 / 20)
PATH_END = 1e-5  # of the penalty that leaves no weight; far, since one very telling neuron holds off the others
ON_THE_WAY = 0.1  # tolerance at penalties that only lead to the one asked for
COLUMNS_AT_ONCE = 256


@dataclass(frozen=True)
class L1Probe:
    """Weights of one-vs-rest logistic regressions with an L1 penalty, in units of standardised activations.

    Minimises ``mean_i c_i log(1 + exp(-s_i (w x_i + b))) + penalty |w|_1``, with ``c_i = N / 2 n`` for the n words on
    the side of word i (tag or rest), so that both weigh the same, x standardised over the words and b unpenalised
    (Gurnee et al. 2023, arXiv:2305.01610). That is scikit-learn's objective with ``class_weight="balanced"`` and
    ``C = 1 / (N penalty)``.

    With ``n_nonzero`` each tag has its own penalty: the first on a path down from the least one that leaves no
    weight, twenty to a decade, at which it has that many weights or more. With ``C`` all tags have that one.

    It ignores a neuron's shift and scale and a tag's frequency, and not the other neurons: of neurons that say the
    same it may keep one and give the rest 0, so a weight of 0 does not mean that a neuron is silent about the tag. A
    constant neuron scores 0. ``tolerance`` is the largest subgradient left, in units of the penalty. Activations are
    held once as float32.
    """

    n_nonzero: int | None = None
    C: float | None = None
    tolerance: float = 1e-4
    per_neuron: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if (self.n_nonzero is None) == (self.C is None):
            raise ValueError(f"give either n_nonzero or C, got n_nonzero={self.n_nonzero} and C={self.C}")
        if self.n_nonzero is not None and self.n_nonzero < 1:
            raise ValueError(f"n_nonzero must be at least 1, got {self.n_nonzero}")
        if self.C is not None and not 0 < self.C < float("inf"):
            raise ValueError(f"C must be above 0 and finite, got {self.C}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must lie between 0 and 1, got {self.tolerance}")

    def __call__(
        self, values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], n_tags: int
    ) -> Float[Tensor, "tags neurons"]:
        """Solve for all tags together.

        Returns:
            The weights.

        Raises:
            ValueError: If a tag does not have ``n_nonzero`` weights by the end of the path, and for whatever
                ``checked_counts`` refuses.
        """
        counts = checked_counts(values, tags, n_tags)
        if self.n_nonzero is not None and self.n_nonzero > values.shape[1]:
            raise ValueError(f"n_nonzero must lie in 1..{values.shape[1]} (the neurons), got {self.n_nonzero}")
        problem = balanced_problem(values, tags, counts)
        solution = problem.start()
        if self.C is not None:
            self._descend(problem, solution, 1 / (self.C * len(tags)))
        elif self.n_nonzero is not None:
            self._search(problem, solution, self.n_nonzero)
        return solution.weights

    def _descend(self, problem: LogisticProblem, solution: Solution, end: float) -> None:
        """Solve at one penalty, by way of higher ones."""
        every = torch.arange(len(solution.bias), device=solution.bias.device)
        penalty = solution.gradient.abs().amax(dim=1).clamp(min=end)
        while (penalty > end).any():
            penalty = (penalty * PATH_RATIO).clamp(min=end)
            problem.solve(solution, every, penalty, ON_THE_WAY)
        problem.solve(solution, every, penalty, self.tolerance)

    def _search(self, problem: LogisticProblem, solution: Solution, n_nonzero: int) -> None:
        """Go down the path with every tag until it has enough weights.

        Raises:
            ValueError: If one does not.
        """
        searching = torch.arange(len(solution.bias), device=solution.bias.device)
        penalty = solution.gradient.abs().amax(dim=1)
        end = penalty * PATH_END
        while len(searching) and (penalty > end)[searching].all():
            penalty = penalty * PATH_RATIO
            problem.solve(solution, searching, penalty[searching], self.tolerance)
            searching = searching[(solution.weights[searching] != 0).sum(dim=1) < n_nonzero]
        for tag in searching.tolist():
            raise ValueError(
                f"n_nonzero={n_nonzero} is more than tag {tag} reaches: {int(solution.weights[tag].count_nonzero())} "
                f"weights of {solution.weights.shape[1]} at the end of the path, {PATH_END} of the largest penalty"
            )


def balanced_problem(
    values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], counts: Int[Tensor, " tags"]
) -> LogisticProblem:
    """One-vs-rest problems on standardised activations, both sides of equal weight; a constant neuron is all 0."""
    inputs = torch.empty(values.shape[1], len(tags), device=values.device)
    for first in range(0, values.shape[1], COLUMNS_AT_ONCE):
        columns = wide(values[:, first : first + COLUMNS_AT_ONCE].T)
        constant = (columns == columns[:, :1]).all(dim=1, keepdim=True)
        columns -= columns.mean(dim=1, keepdim=True)
        columns /= columns.square().mean(dim=1, keepdim=True).sqrt()
        inputs[first : first + COLUMNS_AT_ONCE] = columns.masked_fill_(constant, 0.0)
    targets = tags == torch.arange(len(counts), device=tags.device)[:, None]
    share = torch.where(targets, counts[:, None], len(tags) - counts[:, None])
    dtype = torch.float32 if values.device.type == "mps" else torch.float64
    return LogisticProblem(inputs, targets.to(dtype), 0.5 / share.to(dtype))
