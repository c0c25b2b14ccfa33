"""A model with linear gradients, for relevance propagation (RelP, arXiv:2508.21258)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from keyneurons.models.families import Family, block_modules, submodule


def check_linearisable(family: Family, model_type: str) -> None:
    """Check that the rules are known for an architecture.

    Raises:
        ValueError: the family does not name its projections to queries and keys.
    """
    if not family.query_key:
        raise ValueError(f"relp knows the attention of the families of keyneurons only, not of {model_type}")


@contextmanager
def linearised(base: nn.Module, family: Family, head_size: int) -> Generator[None]:
    """Replace gradients of a base model by those of RelP's rules; values stay the same.

    Norms divide by a constant, attention patterns are constant, an activation function multiplies
    by the constant ratio of its output and input, and each factor of a gate product receives half
    of the gradient. All hooks are removed on exit.

    Args:
        base: a base model.
        family: its module paths.
        head_size: outputs of a head of the attention.

    Yields:
        Nothing.
    """
    handles = list(_hooks(base, family, head_size))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hooks(base: nn.Module, family: Family, head_size: int) -> Iterator[Any]:
    for module in base.modules():
        if isinstance(module, nn.LayerNorm) or type(module).__name__.endswith("RMSNorm"):
            yield module.register_forward_hook(_constant_norm)
    for block in block_modules(base, family):
        yield submodule(block, family.mlp_gate).register_forward_hook(_constant_ratio)
        if family.gated:
            yield submodule(block, family.mlp).register_forward_pre_hook(_half)
        for path in family.query_key:
            frozen = partial(_frozen_pattern, family, head_size)
            yield submodule(block, path).register_forward_hook(frozen)


def _constant_norm(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """The output of a norm as a linear function of its input, with a constant denominator."""
    value = inputs[0]
    if not isinstance(module, nn.LayerNorm):
        return _as_multiple(value, output)
    bias = torch.zeros_like(output) if module.bias is None else module.bias.expand_as(output)
    centred = value - value.mean(dim=-1, keepdim=True)
    return _as_multiple(centred, output - bias) + bias


def _constant_ratio(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """The output of an activation function as a multiple of its input."""
    return _as_multiple(inputs[0], output)


def _as_multiple(value: Tensor, output: Tensor) -> Tensor:
    """The output as ``value`` times a constant; its gradient is 0 where ``value`` is 0."""
    ratio = torch.where(value == 0, torch.zeros_like(value), output / value).detach()
    linear = value * ratio
    return linear + (output - linear).detach()


def _half(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The product of a gate, whose factors receive half of its gradient each."""
    product = inputs[0]
    return ((product + product.detach()) / 2, *inputs[1:])


def _frozen_pattern(family: Family, head_size: int, _: nn.Module, __: Any, output: Tensor) -> Tensor:
    """Queries and keys without gradients; fused values keep theirs."""
    if family.fused is None:
        return output.detach()
    if family.fused == "thirds":
        query, key, value = output.chunk(3, dim=-1)
        return torch.cat([query.detach(), key.detach(), value], dim=-1)
    heads = output.view(*output.shape[:-1], -1, 3 * head_size)
    query, key, value = heads.chunk(3, dim=-1)
    return torch.cat([query.detach(), key.detach(), value], dim=-1).flatten(-2)
