"""Hooks, in one context manager that removes them whatever happens."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from keyneurons.activations.families import Family, block_modules, submodule
from keyneurons.records import Site

Through = Callable[[Tensor], Tensor | None]


class _AllRead(Exception):
    """Everything asked for has been read; what lies deeper need not be computed."""


class Capture:
    """What the hooked layers of one site carried in the last forward pass."""

    def __init__(self, model: nn.Module, layers: Sequence[int]) -> None:
        self._model = model
        self._wanted = frozenset(layers)
        self._held: dict[int, Tensor] = {}

    def hold(self, layer: int, value: Tensor) -> None:
        """Keep a layer's value.

        Raises:
            _AllRead: it was the last one wanted; this ends the forward pass.
        """
        self._held[layer] = value
        if self._wanted <= self._held.keys():
            raise _AllRead

    @torch.inference_mode()
    def __call__(self, **inputs: Any) -> Mapping[int, Tensor]:
        """Run the model up to the deepest wanted layer.

        Args:
            inputs: what the model's forward takes: token ids, mask, positions.

        Returns:
            The activation ``[sentences, tokens, neurons]`` of every layer.
        """
        self._held = {}
        with suppress(_AllRead):
            self._model(**inputs)
        return self._held


@contextmanager
def capture(model: nn.Module, family: Family, site: Site, layers: Sequence[int]) -> Generator[Capture]:
    """Read one site of the given layers of a base model; every hook is gone on exit.

    Args:
        model: a base model, without a language-model head.
        family: where its modules are.
        site: where in the block to read.
        layers: block numbers, 0-based.

    Yields:
        A callable that runs the model to the deepest of these layers and returns what it read.
    """
    reading = Capture(model, layers)
    with passing(model, family, site, {layer: functools.partial(reading.hold, layer) for layer in layers}):
        yield reading


@contextmanager
def passing(model: nn.Module, family: Family, site: Site, through: Mapping[int, Through]) -> Generator[None]:
    """Pass what a site of some layers carries through a function each; every hook is gone on exit.

    Args:
        model: a base model.
        family: where its modules are.
        site: where in the block.
        through: by block number, a function of what the site carries; the model goes on with what it returns, or with
            the same if that is None.

    Yields:
        Nothing.
    """
    blocks = block_modules(model, family)
    handles = []
    try:
        for layer, function in through.items():
            handles.append(_attach(blocks[layer], family, site, function))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _attach(block: nn.Module, family: Family, site: Site, function: Through) -> Any:
    def after(_: nn.Module, __: Any, output: Any) -> Any:
        if not isinstance(output, tuple):
            return function(output)
        return None if (value := function(output[0])) is None else (value, *output[1:])

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> Any:
        return None if (value := function(inputs[0])) is None else (value, *inputs[1:])

    if site == "residual":
        return block.register_forward_hook(after)
    module = submodule(block, getattr(family, site))
    return module.register_forward_hook(after) if site == "mlp_gate" else module.register_forward_pre_hook(before)
