"""Whether attributions sum to what they should."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

log = logging.getLogger(__name__)


class Completeness:
    """Gathers how far integrated gradients are from summing to the change of the target.

    The residual is ``sum over words |sum of attributions - change| / sum over words |change|``, of every layer
    (``layer_8``), or of all together where they are scaled jointly (``joint``); above
    ``warn_above`` it is too large.
    """

    def __init__(self, *, joint: bool, warn_above: float) -> None:
        self._joint = joint
        self._warn_above = warn_above
        self._residual: dict[str, float] = {}
        self._change: dict[str, float] = {}

    def add(self, columns: Mapping[int, Float[Tensor, "words columns"]]) -> None:
        """Take in some words: by layer the attributions of all neurons and, in the last column, the change."""
        sums = {layer: values[:, :-1].sum(dim=1, dtype=torch.float64) for layer, values in columns.items()}
        change = {layer: values[:, -1].double() for layer, values in columns.items()}
        if self._joint:
            self._take("joint", torch.stack(list(sums.values())).sum(dim=0), next(iter(change.values())))
            return
        for layer, total in sums.items():
            self._take(f"layer_{layer}", total, change[layer])

    def residuals(self) -> dict[str, float]:
        """The relative residual of each."""
        return {name: self._residual[name] / max(change, 1e-30) for name, change in self._change.items()}

    def warn(self) -> None:
        """Say in the log which residuals are too large."""
        if large := {name: residual for name, residual in self.residuals().items() if residual > self._warn_above}:
            told = ", ".join(f"{name} {residual:.3g}" for name, residual in large.items())
            log.warning("attributions are off their sum by more than %g of it: %s", self._warn_above, told)

    def _take(self, name: str, total: Float[Tensor, " words"], change: Float[Tensor, " words"]) -> None:
        self._residual[name] = self._residual.get(name, 0.0) + float((total - change).abs().sum())
        self._change[name] = self._change.get(name, 0.0) + float(change.abs().sum())
