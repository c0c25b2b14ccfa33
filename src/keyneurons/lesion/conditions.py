"""What is done to which neurons: several conditions side by side in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Change:
    """What takes the place of an activation: ``gain * value + shift``, or with ``borrow`` what another word has there.

    ``shift`` has a number for every neuron of a layer, whether it is changed or not.
    """

    gain: float = 0.0
    shift: Float[Tensor, " neurons"] | None = None
    borrow: bool = False


@dataclass(frozen=True)
class Condition:
    """By layer, the neurons that are changed and how.

    ``kept`` turns them round: all other neurons of these layers are changed.
    """

    neurons: Mapping[int, Int[Tensor, " changed"]]
    change: Mapping[int, Change]
    kept: bool = False

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers where something is changed, ascending."""
        return tuple(sorted(self.neurons))


class Layer:
    """The conditions of one layer, as one function of what it carries.

    Args:
        layer: the layer.
        conditions: all conditions of the pass, whether they change this layer or not.
        width: neurons of the site.
        device: where they are applied.
    """

    def __init__(self, layer: int, conditions: Sequence[Condition], width: int, device: torch.device) -> None:
        self._changed = torch.zeros(len(conditions), width, dtype=torch.bool)
        self._gain, self._shift = torch.ones(len(conditions), 1), torch.zeros(len(conditions), width)
        self._borrowed = torch.zeros(len(conditions), 1, dtype=torch.bool)
        for i, condition in enumerate(conditions):
            if layer not in condition.neurons:
                continue
            self._changed[i, condition.neurons[layer]] = True
            if condition.kept:
                self._changed[i] = ~self._changed[i]
            change = condition.change[layer]
            self._gain[i], self._borrowed[i] = change.gain, change.borrow
            if change.shift is not None:
                self._shift[i] = change.shift.cpu()
        self._changed, self._gain = self._changed.to(device), self._gain.to(device)
        self._shift, self._borrowed = self._shift.to(device), self._borrowed.to(device)

    def __call__(
        self,
        value: Float[Tensor, "rows tokens neurons"],
        where: Bool[Tensor, "rows tokens"] | None = None,
        donors: Float[Tensor, "sentences tokens neurons"] | None = None,
    ) -> Float[Tensor, "rows tokens neurons"]:
        """Change what the layer carries.

        Args:
            value: the activations, all sentences of the first condition first.
            where: the positions where it is changed; everywhere by default.
            donors: for each position of each sentence the activation of another word.

        Returns:
            The changed activations; what is not changed is the same bit for bit.
        """
        n = len(self._changed)
        by_condition = value.view(n, -1, *value.shape[1:])
        gain, shift = (part[:, None, None].to(value.dtype) for part in (self._gain, self._shift))
        new = by_condition * gain + shift
        if donors is not None:
            new = torch.where(self._borrowed[:, None, None], donors.to(value.dtype), new)
        changed = self._changed[:, None, None]
        if where is not None:
            changed = changed & where.view(n, -1, where.shape[1])[..., None]
        return torch.where(changed, new, by_condition).flatten(0, 1)
