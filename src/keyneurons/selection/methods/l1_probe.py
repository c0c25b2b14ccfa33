"""Weights of sparse linear probes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.scorer import TagError, checked_counts, wide_dtype
from keyneurons.selection.solvers.l1_solver import LogisticProblem, Solution
from keyneurons.selection.solvers.multinomial import standardised

PATH_RATIO = 10 ** (-1 / 20)
PATH_END = 1e-5  # of the penalty that leaves no weight; far, since one very telling neuron holds off the others
DESCENT_RATIO = 10 ** (-1 / 2)  # of penalties that only lead to the one asked for
ON_THE_WAY = 2.0  # tolerance there


@dataclass(frozen=True)
class L1Probe:
    """Weights of one-vs-rest logistic regressions with an L1 penalty, in units of standardised activations.

    Minimises ``mean_i c_i log(1 + exp(-s_i (w x_i + b))) + penalty |w|_1``, with ``c_i = N / 2 n`` for the n words on
    the side of word i (tag or rest), so that both weigh the same, x standardised over the words and b unpenalised
    (Gurnee et al. 2023, arXiv:2305.01610). That is scikit-learn's objective with ``class_weight="balanced"`` and
    ``C = 1 / (N penalty)``.

    Each tag has its own penalty: the first on a path down from the least one that leaves no weight, twenty to a decade,
    at which it has ``n_nonzero`` weights or more. With ``C`` all tags have that one, and must have as many weights.

    It ignores a neuron's shift and scale and a tag's frequency, and not the other neurons: of neurons that say the
    same it may keep one and give the rest 0, so a weight of 0 does not mean that a neuron is silent about the tag. A
    constant neuron scores 0. ``tolerance`` is the largest subgradient left, in units of the penalty. Activations are
    held once as float32.
    """

    n_nonzero: int = 0
    C: float | None = None
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if self.n_nonzero < (1 if self.C is None else 0):
            raise ValueError(f"n_nonzero must be at least 1, or 0 beside a C, got {self.n_nonzero}")
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
            TagError: If a tag does not have ``n_nonzero`` weights at C or by the end of the path.
            ValueError: If there are fewer neurons than that, and for whatever ``checked_counts`` refuses.
        """
        counts = checked_counts(values, tags, n_tags)
        if self.n_nonzero > values.shape[1]:
            raise ValueError(f"n_nonzero must lie in 1..{values.shape[1]} (the neurons), got {self.n_nonzero}")
        problem = balanced_problem(values, tags, counts)
        solution = problem.start()
        if self.C is None:
            searching = self._search(problem, solution)
            where = f"at the end of the path, {PATH_END} of the largest penalty"
        else:
            self._descend(problem, solution, 1 / (self.C * len(tags)))
            searching = ((solution.weights != 0).sum(dim=1) < self.n_nonzero).nonzero().squeeze(1)
            where = f"at C={self.C}"
        for tag in searching.tolist():
            found = int(solution.weights[tag].count_nonzero())
            raise TagError(tag, f"has {found} weights other than 0 {where}; n_nonzero={self.n_nonzero} asks for more")
        return solution.weights

    def _descend(self, problem: LogisticProblem, solution: Solution, end: float) -> None:
        """Solve at one penalty, by way of higher ones."""
        every = torch.arange(len(solution.bias), device=solution.bias.device)
        penalty = solution.gradient.abs().amax(dim=1).clamp(min=end)
        while (penalty > end).any():
            penalty = (penalty * DESCENT_RATIO).clamp(min=end)
            problem.solve(solution, every, penalty, ON_THE_WAY)
        problem.solve(solution, every, penalty, self.tolerance)

    def _search(self, problem: LogisticProblem, solution: Solution) -> Int[Tensor, " left"]:
        """Go down the path with every tag until it has enough weights; returns the tags that never have."""
        searching = torch.arange(len(solution.bias), device=solution.bias.device)
        penalty = solution.gradient.abs().amax(dim=1)
        end = penalty * PATH_END
        while len(searching) and (penalty > end)[searching].all():
            penalty = penalty * PATH_RATIO
            problem.solve(solution, searching, penalty[searching], self.tolerance)
            searching = searching[(solution.weights[searching] != 0).sum(dim=1) < self.n_nonzero]
        return searching


def balanced_problem(
    values: Num[Tensor, "words neurons"], tags: Int[Tensor, " words"], counts: Int[Tensor, " tags"]
) -> LogisticProblem:
    """One-vs-rest problems on standardised activations, both sides of equal weight; a constant neuron is all 0."""
    targets = tags == torch.arange(len(counts), device=tags.device)[:, None]
    share = torch.where(targets, counts[:, None], len(tags) - counts[:, None])
    dtype = wide_dtype(values.device)
    return LogisticProblem(standardised(values), targets.to(dtype), 0.5 / share.to(dtype))
