"""Integrated gradients along a path from a baseline, by quadrature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from keyneurons.attribution.gradients import Gradients

Rule = Literal["gauss_legendre", "left", "right"]
Layers = Mapping[int, Float[Tensor, "words neurons"]]


@dataclass(frozen=True)
class Quadrature:
    """Nodes in 0..1 and weights of a quadrature rule; the weights sum to 1.

    ``gauss_legendre`` is exact for polynomials up to degree ``2 steps - 1``; ``left`` and ``right``
    are Riemann sums.
    """

    rule: Rule
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.rule not in {"gauss_legendre", "left", "right"}:
            raise ValueError(f"rule must be gauss_legendre, left or right, got {self.rule!r}")

    def nodes_and_weights(self) -> tuple[list[float], list[float]]:
        """The nodes in 0..1, ascending, and their weights."""
        if self.rule == "gauss_legendre":
            nodes, weights = np.polynomial.legendre.leggauss(self.steps)
            return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()
        first = 0 if self.rule == "left" else 1
        return [(first + i) / self.steps for i in range(self.steps)], [1 / self.steps] * self.steps


@dataclass(frozen=True)
class Attributions:
    """Attributions of every word's target to every neuron, by layer.

    ``change`` is the change of the target from the baseline to the activation, for one layer or for
    all layers jointly; exact attributions sum to it (completeness, Sundararajan et al. 2017). None
    if the target at the baseline is not computed.
    """

    by_layer: Layers
    change: Mapping[int, Float[Tensor, " words"]] | None


def integrate(
    evaluate: Callable[[Float[Tensor, " copies"]], Gradients],
    differences: Layers,
    quadrature: Quadrature,
    copies_at_once: int,
) -> tuple[dict[int, Float[Tensor, "words neurons"]], Float[Tensor, " words"]]:
    """Attributions along the straight line from a baseline to the activations.

    ``(w_i - b_i) * integral over alpha in 0..1 of dF/dw_i at b + alpha (w - b)`` (Sundararajan et
    al. 2017, arXiv:1703.01365; for feed-forward neurons Dai et al. 2022, arXiv:2104.08696).

    Args:
        evaluate: computes target and gradients of every word at some alphas.
        differences: by layer, activation minus baseline.
        quadrature: rule of the integral.
        copies_at_once: number of alphas evaluated together.

    Returns:
        The attributions by layer, in float32 or wider, and the target of every word at the
        baseline.
    """
    nodes, weights = quadrature.nodes_and_weights()
    some = next(iter(differences.values()))
    alphas, weight = torch.tensor([0.0, *nodes]), torch.tensor([0.0, *weights])  # the first is the baseline
    total: dict[int, Tensor] = {}
    targets = []
    for at, of_at in zip(torch.split(alphas, copies_at_once), torch.split(weight, copies_at_once), strict=True):
        gradients = evaluate(at.to(some.device))
        targets.append(gradients.target)
        for layer, gradient in gradients.by_layer.items():
            wide = torch.promote_types(gradient.dtype, torch.float32)
            slope = torch.einsum("wcn,c->wn", gradient.to(wide), of_at.to(gradient.device, wide))
            total[layer] = total[layer] + slope if layer in total else slope
    return {layer: differences[layer] * slope for layer, slope in total.items()}, targets[0][:, 0]
