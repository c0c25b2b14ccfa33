"""The blocks of a model, and how they were called: to call them again with something else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from keyneurons.models.families import Family, block_modules


@contextmanager
def listening(
    model: nn.Module, family: Family, first: int, heard: Callable[[int, dict[str, Any]], None]
) -> Generator[None]:
    """Hear the calls of the blocks from one on; every hook is gone on exit.

    Args:
        model: a base model.
        family: where its blocks are.
        first: number of the first block listened to.
        heard: takes the number of a block and its arguments by name, the hidden states first.

    Yields:
        Nothing.
    """

    def hook(number: int) -> Callable[..., None]:
        def before(block: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            heard(number, _named(block, args, kwargs))

        return before

    blocks = list(enumerate(block_modules(model, family)))[first:]
    handles = [block.register_forward_pre_hook(hook(number), with_kwargs=True) for number, block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_block(block: nn.Module, hidden: Tensor, arguments: Mapping[str, Any]) -> Tensor:
    """What a block makes of some hidden states; they take the place of the first of the arguments."""
    first, *others = arguments
    output = block(**{first: hidden}, **{name: arguments[name] for name in others})
    changed: Tensor = output[0] if isinstance(output, tuple) else output
    return changed


def _named(block: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    bound = inspect.signature(block.forward).bind(*args, **kwargs).arguments
    return {name: value for name, value in bound.items() if name != "kwargs"} | dict(bound.get("kwargs", {}))
