"""Multinomial logistic regression with an elastic-net penalty on standardised activations."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from keyneurons.selection.scorer import wide
from keyneurons.selection.solvers.quadratic import soft_threshold

MAX_STEPS = 10_000
STEPS_BETWEEN_CHECKS = 10
COLUMNS_AT_ONCE = 256
LONGER, SHORTER = 1.1, 0.5  # factors of the step length after an accepted and a rejected step
SHORTEST = 1e-20
ROUNDING = 1e-6  # relative tolerance of the loss: below the precision of float32 logits


def standardised(values: Num[Tensor, "words neurons"]) -> Float[Tensor, "neurons words"]:
    """Zero mean and unit variance over the words, in float32; a constant neuron is all 0."""
    inputs = torch.empty(values.shape[1], len(values), device=values.device)
    for first in range(0, values.shape[1], COLUMNS_AT_ONCE):
        columns = wide(values[:, first : first + COLUMNS_AT_ONCE].T)
        constant = (columns == columns[:, :1]).all(dim=1, keepdim=True)
        columns -= columns.mean(dim=1, keepdim=True)
        deviation = columns.square().mean(dim=1, keepdim=True).sqrt()
        columns /= deviation
        inputs[first : first + COLUMNS_AT_ONCE] = columns.masked_fill_(constant | (deviation == 0), 0.0)
    return inputs


def multinomial_weights(
    inputs: Float[Tensor, "neurons words"],
    tags: Int[Tensor, " words"],
    n_tags: int,
    l1: float,
    l2: float,
    tolerance: float,
) -> Float[Tensor, "tags neurons"]:
    """Minimise ``mean cross-entropy + l1 sum |W| + l2 sum W^2`` over weights W and a free bias.

    Accelerated proximal gradient (Beck & Teboulle 2009) with an adaptive step length; the momentum
    is reset where it points uphill (O'Donoghue & Candes 2015). Each step takes two products with
    the inputs.

    Returns:
        Weights at which no subgradient exceeds ``tolerance`` times the largest gradient at weights
        of 0.

    Raises:
        ValueError: If the solver does not converge.
    """
    problem = _Multinomial(inputs, tags, n_tags, l1, l2)
    weights = inputs.new_zeros(n_tags, len(inputs) + 1)
    weights[:, -1] = torch.bincount(tags, minlength=n_tags).to(weights).log()
    logits = problem.logits(weights)
    slope = problem.slope(weights, logits)
    allowed = tolerance * float(slope[:, :-1].abs().max())
    if not allowed:  # every neuron is constant
        return weights[:, :-1].double()
    ahead, ahead_logits, momentum, step = weights, logits, 1.0, 1.0
    for count in range(1, MAX_STEPS + 1):
        slope, value = problem.slope(ahead, ahead_logits), problem.smooth_value(ahead, ahead_logits)
        while True:
            new = problem.shrunk(ahead - step * slope, step)
            new_logits, way = problem.logits(new), new - ahead
            bound = value + (slope * way).sum().double() + way.square().sum().double() / (2 * step)
            if problem.smooth_value(new, new_logits) <= bound + ROUNDING * abs(value):
                break
            step *= SHORTER
            if step < SHORTEST:
                raise ValueError(f"multinomial probe failed: no step decreases the loss of {value}")
        if ((ahead - new) * (new - weights)).sum() > 0:
            momentum = 1.0
        next_momentum = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        push = (momentum - 1) / next_momentum
        ahead, ahead_logits = new + push * (new - weights), new_logits + push * (new_logits - logits)
        weights, logits, momentum, step = new, new_logits, next_momentum, step * LONGER
        if count % STEPS_BETWEEN_CHECKS == 0 and (left := problem.violation(weights, logits)) <= allowed:
            return weights[:, :-1].double()
    raise ValueError(f"multinomial probe did not reach a subgradient of {allowed} in {MAX_STEPS} steps, got {left}")


class _Multinomial:
    """The loss on some words; the last column of the weights is the bias."""

    def __init__(
        self, inputs: Float[Tensor, "neurons words"], tags: Int[Tensor, " words"], n_tags: int, l1: float, l2: float
    ) -> None:
        self.inputs, self.l1, self.l2 = inputs, l1, l2
        self.tags = tags
        self.targets = torch.nn.functional.one_hot(tags, n_tags).T.to(inputs)

    def logits(self, weights: Float[Tensor, "tags weights"]) -> Float[Tensor, "tags words"]:
        return torch.addmm(weights[:, -1:], weights[:, :-1], self.inputs)

    def smooth_value(self, weights: Float[Tensor, "tags weights"], logits: Float[Tensor, "tags words"]) -> float:
        """The loss without its L1 term."""
        entropy = torch.nn.functional.cross_entropy(logits.double().T, self.tags)
        return float(entropy + self.l2 * weights[:, :-1].double().square().sum())

    def slope(
        self, weights: Float[Tensor, "tags weights"], logits: Float[Tensor, "tags words"]
    ) -> Float[Tensor, "tags weights"]:
        """The gradient of the loss without its L1 term."""
        residual = (logits.softmax(dim=0) - self.targets) / logits.shape[1]
        slope = torch.empty_like(weights)
        slope[:, :-1] = torch.addmm(weights[:, :-1], residual, self.inputs.T, beta=2 * self.l2)
        slope[:, -1] = residual.sum(dim=1)
        return slope

    def shrunk(self, weights: Float[Tensor, "tags weights"], step: float) -> Float[Tensor, "tags weights"]:
        """The weights, except the bias, soft-thresholded by ``step l1``."""
        if self.l1:
            by = torch.full_like(weights[:, :-1], step * self.l1)
            weights[:, :-1] = soft_threshold(weights[:, :-1], by)
        return weights

    def violation(self, weights: Float[Tensor, "tags weights"], logits: Float[Tensor, "tags words"]) -> float:
        """Largest magnitude of a subgradient of the loss."""
        slope = self.slope(weights, logits)
        of_weights, inner = slope[:, :-1], weights[:, :-1]
        at_zero = (of_weights.abs() - self.l1).clamp(min=0)
        distance = torch.where(inner != 0, (of_weights + self.l1 * inner.sign()).abs(), at_zero)
        return max(float(distance.max()), float(slope[:, -1].abs().max()))
