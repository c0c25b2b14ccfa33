"""The three ways to attribute a word's target to the activations where it is predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from keyneurons.attribution.gradients import Differentiator, Gradients
from keyneurons.attribution.integral import Attributions, Quadrature, integrate
from keyneurons.attribution.recording import Recording

Baseline = Mapping[int, Float[Tensor, " neurons"]]
ALL = slice(None)


@runtime_checkable
class AttributionPath(Protocol):
    """Attributes the targets of all words of a recording to all the layers that it holds.

    ``copies`` is how often a word's position is computed; ``together`` says whether one pass yields all layers.
    """

    @property
    def copies(self) -> int:
        """Times that a word's position is computed."""
        ...

    @property
    def together(self) -> bool:
        """Whether one pass yields the gradients of all layers."""
        ...

    @property
    def joint(self) -> bool:
        """Whether all layers are scaled at once, so that their attributions belong together."""
        ...

    def __call__(
        self,
        differentiate: Differentiator,
        recording: Recording,
        tokens: Int[Tensor, " words"],
        baseline: Baseline,
        copies_at_once: int,
    ) -> Attributions:
        """The attributions."""
        ...


@dataclass(frozen=True)
class LayerPath:
    """One layer is scaled at a time, all above follow: integrated gradients as Dai et al. 2022 have them."""

    quadrature: Quadrature
    together = False
    joint = False

    @property
    def copies(self) -> int:
        """The nodes of the quadrature, and the baseline."""
        return self.quadrature.steps + 1

    def __call__(
        self,
        differentiate: Differentiator,
        recording: Recording,
        tokens: Int[Tensor, " words"],
        baseline: Baseline,
        copies_at_once: int,
    ) -> Attributions:
        """Integrate layer by layer; each starts from what was recorded, so no layer below is computed again."""
        recorded = differentiate.recorded(recording, tokens)
        by_layer: dict[int, Tensor] = {}
        change: dict[int, Tensor] = {}
        for layer, activation in recording.activations.items():
            one = _Line(differentiate, recording, tokens, {layer: activation}, baseline)
            found, origin = integrate(one, one.differences, self.quadrature, copies_at_once)
            by_layer |= found
            change[layer] = recorded - origin
        return Attributions(by_layer, change)


@dataclass(frozen=True)
class JointPath:
    """All layers are scaled at once, each held at its scaled activation: their attributions sum to one change."""

    quadrature: Quadrature
    together = True
    joint = True

    @property
    def copies(self) -> int:
        """The nodes of the quadrature, and the baseline."""
        return self.quadrature.steps + 1

    def __call__(
        self,
        differentiate: Differentiator,
        recording: Recording,
        tokens: Int[Tensor, " words"],
        baseline: Baseline,
        copies_at_once: int,
    ) -> Attributions:
        """Integrate over all layers together.

        Returns:
            Attributions that sum to one change.

        Raises:
            ValueError: at the residual stream, which takes in the layers below: held, it depends on none of them.
        """
        if differentiate.site == "residual" and len(recording.activations) > 1:
            raise ValueError("path=joint cannot scale the residual stream of several layers; use path=layer")
        line = _Line(differentiate, recording, tokens, recording.activations, baseline)
        found, origin = integrate(line, line.differences, self.quadrature, copies_at_once)
        change = differentiate.recorded(recording, tokens) - origin
        return Attributions(found, dict.fromkeys(found, change))


@dataclass(frozen=True)
class GradientPath:
    """Gradient times activation (minus baseline): one step, at the activation itself; all layers from one pass."""

    copies = 1
    together = True
    joint = False

    def __call__(
        self,
        differentiate: Differentiator,
        recording: Recording,
        tokens: Int[Tensor, " words"],
        baseline: Baseline,
        copies_at_once: int,
    ) -> Attributions:
        """The first-order change of the target if a neuron were put to its baseline."""
        found = differentiate(recording, ALL, tokens, dict.fromkeys(recording.activations)).by_layer
        wide = {layer: gradient[:, 0].to(_wide(gradient)) for layer, gradient in found.items()}
        differences = _differences(recording.activations, baseline)
        return Attributions({layer: differences[layer] * gradient for layer, gradient in wide.items()}, None)


class _Line:
    """Targets and gradients on the straight line from the baseline of some layers to their activations."""

    def __init__(
        self,
        differentiate: Differentiator,
        recording: Recording,
        tokens: Tensor,
        activations: Mapping[int, Tensor],
        baseline: Baseline,
    ) -> None:
        self.differences = _differences(activations, baseline)
        self._dtypes = {layer: activation.dtype for layer, activation in activations.items()}
        self._baseline = {layer: baseline[layer].to(each) for layer, each in self.differences.items()}
        self._run = differentiate, recording, tokens

    def __call__(self, alphas: Float[Tensor, " copies"]) -> Gradients:
        differentiate, recording, tokens = self._run
        points = {
            layer: (self._baseline[layer] + alphas.to(each)[None, :, None] * each[:, None]).to(self._dtypes[layer])
            for layer, each in self.differences.items()
        }
        return differentiate(recording, ALL, tokens, points, len(alphas))


def _differences(activations: Mapping[int, Tensor], baseline: Baseline) -> dict[int, Tensor]:
    return {layer: each.to(_wide(each)) - baseline[layer].to(each.device) for layer, each in activations.items()}


def _wide(value: Tensor) -> torch.dtype:
    return torch.promote_types(value.dtype, torch.float32)
