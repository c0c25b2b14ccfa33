"""Completeness check: attributions must sum to the change of the target."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

log = logging.getLogger(__name__)


class Completeness:
    """Accumulates the completeness residuals of integrated gradients.

    The residual is ``sum over words |sum of attributions - change| / sum over words |change|``, for
    each layer (``layer_8``) or for all layers if they are scaled jointly (``joint``). ``warn``
    reports residuals above ``warn_above``.
    """

    def __init__(self, *, joint: bool, warn_above: float) -> None:
        self._joint = joint
        self._warn_above = warn_above
        self._residual: dict[str, float] = {}
        self._change: dict[str, float] = {}

    def add(self, columns: Mapping[int, Float[Tensor, "words columns"]]) -> None:
        """Add words: by layer, attributions of all neurons and, in the last column, the change."""
        sums = {layer: values[:, :-1].sum(dim=1, dtype=torch.float64) for layer, values in columns.items()}
        change = {layer: values[:, -1].double() for layer, values in columns.items()}
        if self._joint:
            self._accumulate("joint", torch.stack(list(sums.values())).sum(dim=0), next(iter(change.values())))
            return
        for layer, total in sums.items():
            self._accumulate(f"layer_{layer}", total, change[layer])

    def residuals(self) -> dict[str, float]:
        """Relative residuals by name."""
        return {name: self._residual[name] / max(change, 1e-30) for name, change in self._change.items()}

    def warn(self) -> None:
        """Log a warning about residuals above the limit."""
        if large := {name: residual for name, residual in self.residuals().items() if residual > self._warn_above}:
            values = ", ".join(f"{name} {residual:.3g}" for name, residual in large.items())
            log.warning("completeness error of attributions exceeds %g: %s", self._warn_above, values)

    def _accumulate(self, name: str, total: Float[Tensor, " words"], change: Float[Tensor, " words"]) -> None:
        self._residual[name] = self._residual.get(name, 0.0) + float((total - change).abs().sum())
        self._change[name] = self._change.get(name, 0.0) + float(change.abs().sum())
