"""What is done to which neurons: several conditions side by side in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Replacement = Callable[
    [Float[Tensor, "sentences tokens changed"], Float[Tensor, "sentences tokens changed"] | None],
    Float[Tensor, "sentences tokens changed"],
]
"""Makes new activations of those of some neurons; it is given the activations of other words too, where there are
any."""


@dataclass(frozen=True)
class Condition:
    """By layer, the neurons that are changed and what takes the place of their activations."""

    neurons: Mapping[int, Int[Tensor, " changed"]]
    change: Mapping[int, Replacement]

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers where something is changed, ascending."""
        return tuple(sorted(self.neurons))


def changed(
    conditions: Sequence[Condition],
    layer: int,
    value: Float[Tensor, "rows tokens neurons"],
    where: Bool[Tensor, "rows tokens"] | None = None,
    lent: Float[Tensor, "sentences tokens neurons"] | None = None,
) -> Float[Tensor, "rows tokens neurons"]:
    """What a layer carries under several conditions.

    Args:
        conditions: all conditions of the pass, whether they change this layer or not.
        layer: the layer.
        value: the activations, all sentences of the first condition first.
        where: the positions where they are changed; everywhere by default.
        lent: for each position of each sentence the activation of another word.

    Returns:
        The changed activations; what is not changed is the same bit for bit.
    """
    new = value.view(len(conditions), -1, *value.shape[1:]).clone()
    for i, condition in enumerate(conditions):
        if layer not in condition.neurons:
            continue
        neurons = condition.neurons[layer].to(value.device)
        before = new[i][..., neurons]
        after = condition.change[layer](before, None if lent is None else lent[..., neurons].to(before))
        if where is not None:
            after = torch.where(where.view(*new.shape[:3])[i, ..., None], after, before)
        new[i][..., neurons] = after
    return new.flatten(0, 1)
