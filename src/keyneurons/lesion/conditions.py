"""Lesion conditions, several of which are applied in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from keyneurons.basis.basis import NEURONS, Basis
from keyneurons.choices import Target

Replacement = Callable[
    [Float[Tensor, "sentences tokens changed"], Float[Tensor, "sentences tokens changed"] | None],
    Float[Tensor, "sentences tokens changed"],
]
"""Maps the activations of some neurons, and those of donor words or None, to new activations."""


@dataclass(frozen=True)
class Condition:
    """By layer, the lesioned neurons and the replacement of their activations.

    Units of another ``basis`` are changed along their directions.
    """

    neurons: Mapping[int, Int[Tensor, " changed"]]
    change: Mapping[int, Replacement]
    basis: Basis = NEURONS

    @property
    def layers(self) -> tuple[int, ...]:
        """The lesioned layers, ascending."""
        return tuple(sorted(self.neurons))


def target_of(conditions: Sequence[Condition]) -> Target | None:
    """The activations that conditions of one basis change; None for those at the site read."""
    return next((condition.basis.target for condition in conditions if condition.neurons), None)


def apply_conditions(
    conditions: Sequence[Condition],
    layer: int,
    value: Float[Tensor, "conditions sentences tokens neurons"],
    where: Bool[Tensor, "conditions sentences tokens"] | None = None,
    donated: Float[Tensor, "sentences tokens _units"] | None = None,
    target: Float[Tensor, "conditions sentences tokens changed"] | None = None,
) -> Float[Tensor, "conditions sentences tokens changed"]:
    """Activations of a layer under several conditions.

    Args:
        conditions: all conditions of the pass, including those without neurons in this layer.
        layer: the layer.
        value: the activations before the lesions.
        where: the positions to change; all positions by default.
        donated: for each position of each sentence the activation of a donor word, in units of the
            basis.
        target: the activations that change with units; by default those read.

    Returns:
        The new activations; all others are the same bit for bit.
    """
    new = (value if target is None else target).clone(memory_format=torch.contiguous_format)
    for i, condition in enumerate(conditions):
        if layer not in condition.neurons:
            continue
        neurons = condition.neurons[layer].to(value.device)
        before = condition.basis.encode(layer, value[i], neurons)
        after = condition.change[layer](before, None if donated is None else donated[..., neurons].to(before))
        if where is not None:
            after = torch.where(where[i, ..., None], after, before)
        condition.basis.change(layer, new[i], neurons, before, after)
    return new
