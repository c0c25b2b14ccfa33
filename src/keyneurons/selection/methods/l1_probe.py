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
PATH_END = 1e-5  # relative to the start; low, since one very informative neuron suppresses the others
DESCENT_RATIO = 10 ** (-1 / 2)  # between warm-start penalties above that of a given C
WARM_START_TOLERANCE = 2.0


@dataclass(frozen=True)
class L1Probe:
    """Weights of one-vs-rest logistic regressions with an L1 penalty on standardised activations.

    Minimises ``mean_i c_i log(1 + exp(-s_i (w x_i + b))) + penalty |w|_1`` with ``c_i = N / 2 n``
    for the n words in the class of word i (tag or rest), so that both classes have equal weight, x
    standardised over the words and b unpenalised (Gurnee et al. 2023, arXiv:2305.01610). This is
    scikit-learn's objective with ``class_weight="balanced"`` and ``C = 1 / (N penalty)``.

    Each tag has its own penalty: the first with at least ``n_nonzero`` non-zero weights on a path
    that descends from the smallest penalty without any, in twenty steps per decade. With ``C``, all
    tags have the penalty of C and must have at least ``n_nonzero`` non-zero weights.

    Invariant to a neuron's shift and scale and to a tag's frequency, but dependent on other
    neurons: the probe may keep one of several redundant neurons and set the others to 0, so weight
    0 does not imply that a neuron is uninformative. A constant neuron scores 0. ``tolerance`` is
    the largest subgradient at the solution, in units of the penalty. Memory: one float32 copy of
    the activations.
    """

    n_nonzero: int = 0
    C: float | None = None
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if self.n_nonzero < (1 if self.C is None else 0):
            raise ValueError(f"n_nonzero must be at least 1, or at least 0 with C, got {self.n_nonzero}")
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
            TagError: If a tag has fewer than ``n_nonzero`` non-zero weights at C or at the end of
                the path.
            ValueError: If there are fewer than ``n_nonzero`` neurons, or as in ``checked_counts``.
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
            n_weights = int(solution.weights[tag].count_nonzero())
            raise TagError(tag, f"has {n_weights} non-zero weights {where}, fewer than n_nonzero={self.n_nonzero}")
        return solution.weights

    def _descend(self, problem: LogisticProblem, solution: Solution, end: float) -> None:
        """Solve at one penalty, with warm starts at larger ones."""
        every = torch.arange(len(solution.bias), device=solution.bias.device)
        penalty = solution.gradient.abs().amax(dim=1).clamp(min=end)
        while (penalty > end).any():
            penalty = (penalty * DESCENT_RATIO).clamp(min=end)
            problem.solve(solution, every, penalty, WARM_START_TOLERANCE)
        problem.solve(solution, every, penalty, self.tolerance)

    def _search(self, problem: LogisticProblem, solution: Solution) -> Int[Tensor, " left"]:
        """Descend the path until each tag has enough weights; return the tags that never do."""
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
    """One-vs-rest problems on standardised activations; both classes have equal weight."""
    targets = tags == torch.arange(len(counts), device=tags.device)[:, None]
    share = torch.where(targets, counts[:, None], len(tags) - counts[:, None])
    dtype = wide_dtype(values.device)
    return LogisticProblem(standardised(values), targets.to(dtype), 0.5 / share.to(dtype))
