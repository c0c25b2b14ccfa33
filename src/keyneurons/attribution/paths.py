"""Attribution paths: layer by layer, all layers jointly, one gradient, and relevance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from keyneurons.attribution.gradients import Differentiator, Gradients
from keyneurons.attribution.integral import Attributions, Quadrature, integrate
from keyneurons.attribution.linearised import check_linearisable, linearised
from keyneurons.attribution.recording import Recording

Baseline = Mapping[int, Float[Tensor, " neurons"]]
ALL = slice(None)


@runtime_checkable
class AttributionPath(Protocol):
    """Attributes the targets of all words of a recording to all recorded layers."""

    @property
    def copies(self) -> int:
        """Number of copies of a word's position."""
        ...

    @property
    def together(self) -> bool:
        """Whether one pass yields the gradients of all layers."""
        ...

    @property
    def joint(self) -> bool:
        """Whether all layers are scaled together, so that their attributions sum to one change."""
        ...

    def __call__(
        self,
        differentiate: Differentiator,
        recording: Recording,
        tokens: Int[Tensor, " words"],
        baseline: Baseline,
        copies_at_once: int,
    ) -> Attributions:
        """Compute the attributions."""
        ...


@dataclass(frozen=True)
class LayerPath:
    """Scales one layer at a time and recomputes all layers above, as in Dai et al. 2022."""

    quadrature: Quadrature
    together = False
    joint = False

    @property
    def copies(self) -> int:
        """The nodes of the quadrature and the baseline."""
        return self.quadrature.steps + 1

    def __call__(
        self,
        differentiate: Differentiator,
        recording: Recording,
        tokens: Int[Tensor, " words"],
        baseline: Baseline,
        copies_at_once: int,
    ) -> Attributions:
        """Integrate layer by layer from the recording, without recomputing lower layers."""
        recorded = differentiate.recorded(recording, tokens)
        by_layer: dict[int, Tensor] = {}
        change: dict[int, Tensor] = {}
        for layer, activation in recording.activations.items():
            line = _Line(differentiate, recording, tokens, {layer: activation}, baseline)
            attributions, origin = integrate(line, line.differences, self.quadrature, copies_at_once)
            by_layer |= attributions
            change[layer] = recorded - origin
        return Attributions(by_layer, change)


@dataclass(frozen=True)
class JointPath:
    """Scales all layers jointly, each fixed at its scaled activation."""

    quadrature: Quadrature
    together = True
    joint = True

    @property
    def copies(self) -> int:
        """The nodes of the quadrature and the baseline."""
        return self.quadrature.steps + 1

    def __call__(
        self,
        differentiate: Differentiator,
        recording: Recording,
        tokens: Int[Tensor, " words"],
        baseline: Baseline,
        copies_at_once: int,
    ) -> Attributions:
        """Integrate over all layers jointly.

        Returns:
            Attributions that sum to one change.

        Raises:
            ValueError: At several layers of the residual stream, which includes the layers below:
                with fixed values it depends on none of them.
        """
        if differentiate.site == "residual" and len(recording.activations) > 1:
            raise ValueError("path=joint cannot scale the residual stream of several layers; use path=layer")
        line = _Line(differentiate, recording, tokens, recording.activations, baseline)
        by_layer, origin = integrate(line, line.differences, self.quadrature, copies_at_once)
        change = differentiate.recorded(recording, tokens) - origin
        return Attributions(by_layer, dict.fromkeys(by_layer, change))


@dataclass(frozen=True)
class GradientPath:
    """Gradient times activation minus baseline, at the activation; one pass for all layers."""

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
        """First-order change of the target between a neuron's baseline and its activation."""
        gradients = differentiate(recording, ALL, tokens, dict.fromkeys(recording.activations)).by_layer
        wide = {layer: gradient[:, 0].to(_wide(gradient)) for layer, gradient in gradients.items()}
        differences = _differences(recording.activations, baseline)
        return Attributions({layer: differences[layer] * gradient for layer, gradient in wide.items()}, None)


@dataclass(frozen=True)
class RelevancePath(GradientPath):
    """The same in a linearised model."""

    def __call__(
        self,
        differentiate: Differentiator,
        recording: Recording,
        tokens: Int[Tensor, " words"],
        baseline: Baseline,
        copies_at_once: int,
    ) -> Attributions:
        """Relevance of every neuron by RelP's rules (arXiv:2508.21258).

        Raises:
            ValueError: The rules are unknown for the model's architecture.
        """
        base: Any = differentiate.predictor.base
        check_linearisable(differentiate.family, base.config.model_type)
        with linearised(base, differentiate.family, recording.calls[0].keys.shape[3]):
            return super().__call__(differentiate, recording, tokens, baseline, copies_at_once)


class _Line:
    """Targets and gradients on the straight line from the baselines to the activations."""

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
