"""Hooks, in one context manager that removes them whatever happens."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from keyneurons.models.families import Family, block_modules, submodule
from keyneurons.quiet import quiet_transformers
from keyneurons.records import Site

T = TypeVar("T")
Through = Callable[[Tensor], Tensor | None]


class _AllRead(Exception):
    """Everything asked for has been read; what lies deeper need not be computed."""


class Capture:
    """Reads the hooked layers of some sites in forward passes that go no deeper than they must."""

    def __init__(self, model: nn.Module, places: Mapping[Site, Sequence[int]]) -> None:
        self._model = model
        self._n_places = sum(len(set(layers)) for layers in places.values())
        self._taken: dict[Site, dict[int, Any]] = {site: {} for site in places}
        self._take: Callable[[Tensor], Any] = lambda value: value

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites read."""
        return tuple(self._taken)

    def hold(self, site: Site, layer: int, value: Tensor) -> None:
        """Take what is wanted of a layer's value, while it is at hand.

        Raises:
            _AllRead: it was the last one wanted; this ends the forward pass.
        """
        self._taken[site][layer] = self._take(value)
        if sum(map(len, self._taken.values())) == self._n_places:
            raise _AllRead

    @torch.inference_mode()
    def __call__(self, inputs: Mapping[str, Any], take: Callable[[Tensor], T]) -> dict[Site, dict[int, T]]:
        """Run the model up to the deepest wanted layer.

        Args:
            inputs: what the model's forward takes: token ids, mask, positions.
            take: what to keep of a layer's activation ``[sentences, tokens, neurons]``.

        Returns:
            By site and layer what was taken.
        """
        self._take, self._taken = take, {site: {} for site in self._taken}
        with suppress(_AllRead), quiet_transformers():
            self._model(**inputs)
        return self._taken


@contextmanager
def capture(model: nn.Module, family: Family, places: Mapping[Site, Sequence[int]]) -> Generator[Capture]:
    """Read some layers of some sites of a base model; every hook is gone on exit.

    Args:
        model: a base model, without a language-model head.
        family: where its modules are.
        places: by site (where in the block to read) block numbers, 0-based.

    Yields:
        A callable that runs the model to the deepest of these layers and returns what it read.
    """
    reading = Capture(model, places)
    with ExitStack() as hooks:
        for site, layers in places.items():
            through = {layer: functools.partial(reading.hold, site, layer) for layer in layers}
            hooks.enter_context(passing(model, family, site, through))
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
    handles: list[Any] = []
    try:
        for layer, function in through.items():
            handles += _attach(blocks[layer], family, site, function)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _attach(block: nn.Module, family: Family, site: Site, function: Through) -> list[Any]:
    """Hook one site of one block.

    Some blocks (of OPT) lay the tokens of all sentences end to end inside; what passes through the function has the
    sentences apart all the same.
    """
    entering: list[torch.Size] = []

    def enter(_: nn.Module, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        entering[:] = [(inputs[0] if inputs else next(iter(kwargs.values()))).shape[:2]]

    def apart(value: Tensor) -> Tensor | None:
        if value.dim() == 3:
            return function(value)
        sentences, tokens = entering[0]
        if value.dim() != 2 or len(value) != sentences * tokens:
            raise ValueError(
                f"{site} must be [sentences, tokens, neurons] with {sentences} sentences of {tokens} tokens, "
                f"got {list(value.shape)}; model.modules names a module that is no {site}"
            )
        changed = function(value.reshape(sentences, tokens, -1))
        return None if changed is None else changed.flatten(0, 1)

    def after(_: nn.Module, __: Any, output: Any) -> Any:
        if not isinstance(output, tuple):
            return apart(output)
        return None if (value := apart(output[0])) is None else (value, *output[1:])

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> Any:
        return None if (value := apart(inputs[0])) is None else (value, *inputs[1:])

    handles = [block.register_forward_pre_hook(enter, with_kwargs=True)]
    if site == "residual":
        return [*handles, block.register_forward_hook(after)]
    module = submodule(block, getattr(family, site))
    if site == "mlp_gate":
        return [*handles, module.register_forward_hook(after)]
    return [*handles, module.register_forward_pre_hook(before)]
