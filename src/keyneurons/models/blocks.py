"""Recording the calls of transformer blocks, and calling a block with other hidden states."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from keyneurons.models.families import Family, block_modules


@contextmanager
def observe_blocks(
    model: nn.Module, family: Family, first: int, on_call: Callable[[int, dict[str, Any]], None]
) -> Generator[None]:
    """Report every call of the blocks from ``first`` on; all hooks are removed on exit.

    Args:
        model: a base model.
        family: its module paths.
        first: number of the first block observed.
        on_call: receives the number of a block and its arguments by name, hidden states first.

    Yields:
        Nothing.
    """

    def hook(number: int) -> Callable[..., None]:
        def before(block: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            on_call(number, _arguments_by_name(block, args, kwargs))

        return before

    blocks = list(enumerate(block_modules(model, family)))[first:]
    handles = [block.register_forward_pre_hook(hook(number), with_kwargs=True) for number, block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_block(block: nn.Module, hidden: Tensor, arguments: Mapping[str, Any]) -> Tensor:
    """Call a block with its first argument replaced by ``hidden``; returns its hidden states."""
    first, *others = arguments
    output = block(**{first: hidden}, **{name: arguments[name] for name in others})
    new_hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return new_hidden


def _arguments_by_name(block: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    bound = inspect.signature(block.forward).bind(*args, **kwargs).arguments
    return {name: value for name, value in bound.items() if name != "kwargs"} | dict(bound.get("kwargs", {}))
