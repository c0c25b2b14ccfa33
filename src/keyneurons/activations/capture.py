"""Hooks, in one context manager that removes them whatever happens."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from keyneurons.activations.families import Family, block_modules, submodule
from keyneurons.records import Site


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
    blocks = block_modules(model, family)
    reading = Capture(model, layers)
    handles = []
    try:
        for layer in layers:
            handles.append(_attach(blocks[layer], family, site, layer, reading))
        yield reading
    finally:
        for handle in handles:
            handle.remove()


def _attach(block: nn.Module, family: Family, site: Site, layer: int, reading: Capture) -> Any:
    def after(_: nn.Module, __: Any, output: Any) -> None:
        reading.hold(layer, output[0] if isinstance(output, tuple) else output)

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        reading.hold(layer, inputs[0])

    if site == "residual":
        return block.register_forward_hook(after)
    module = submodule(block, getattr(family, site))
    return module.register_forward_hook(after) if site == "mlp_gate" else module.register_forward_pre_hook(before)
