"""Forward hooks at the sites of a model, in context managers that always remove them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from keyneurons.choices import Target
from keyneurons.models.families import Family, block_modules, path_at, submodule
from keyneurons.quiet import quiet_transformers
from keyneurons.records import Site

T = TypeVar("T")
SiteHook = Callable[[Tensor], Tensor | None]
"""Receives the activation at a site; returns its replacement, or None to leave it unchanged."""
ChangeHook = Callable[[Tensor, Tensor], Tensor]
"""Receives the activations at a site and at a target; returns the replacement of the latter."""


class _AllRead(Exception):
    """All requested activations have been read; deeper blocks need not be computed."""


class Capture:
    """Reads the hooked layers of some sites in forward passes that end at the deepest one."""

    def __init__(self, model: nn.Module, places: Mapping[Site, Sequence[int]]) -> None:
        self._model = model
        self._n_places = sum(len(set(layers)) for layers in places.values())
        self._taken: dict[Site, dict[int, Any]] = {site: {} for site in places}
        self._take: Callable[[Tensor], Any] = lambda value: value

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites read."""
        return tuple(self._taken)

    def record(self, site: Site, layer: int, value: Tensor) -> None:
        """Apply ``take`` to a layer's activation and keep the result.

        Raises:
            _AllRead: the activation was the last one; this ends the forward pass.
        """
        self._taken[site][layer] = self._take(value)
        if sum(map(len, self._taken.values())) == self._n_places:
            raise _AllRead

    @torch.inference_mode()
    def __call__(self, inputs: Mapping[str, Any], take: Callable[[Tensor], T]) -> dict[Site, dict[int, T]]:
        """Run the model up to the deepest requested layer.

        Args:
            inputs: arguments of the model's forward: token ids, mask, positions.
            take: maps an activation ``[sentences, tokens, neurons]`` to the value to keep.

        Returns:
            The values kept, by site and layer.
        """
        self._take, self._taken = take, {site: {} for site in self._taken}
        with suppress(_AllRead), quiet_transformers():
            self._model(**inputs)
        return self._taken


@contextmanager
def capture(model: nn.Module, family: Family, places: Mapping[Site, Sequence[int]]) -> Generator[Capture]:
    """Read some layers of some sites of a base model; all hooks are removed on exit.

    Args:
        model: a base model, without a language-model head.
        family: its module paths.
        places: block numbers to read, 0-based, by site.

    Yields:
        A callable that runs the model up to the deepest of these layers and returns the
        activations.
    """
    reading = Capture(model, places)
    with ExitStack() as hooks:
        for site, layers in places.items():
            functions = {layer: functools.partial(reading.record, site, layer) for layer in layers}
            hooks.enter_context(hook_site(model, family, site, functions))
        yield reading


@contextmanager
def hook_site(
    model: nn.Module, family: Family, site: Site | Target, functions: Mapping[int, SiteHook]
) -> Generator[None]:
    """Read or replace the activations at a site of some layers; all hooks are removed on exit.

    Args:
        model: a base model.
        family: its module paths.
        site: the site in the block.
        functions: by block number, a function of the activation; the forward pass continues with
            its return value, or with the unchanged activation if that is None.

    Yields:
        Nothing.
    """
    blocks = block_modules(model, family)
    handles: list[Any] = []
    try:
        for layer, function in functions.items():
            handles += _attach(blocks[layer], family, site, function)
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def hook_changes(
    model: nn.Module, family: Family, site: Site, target: Target | None, functions: Mapping[int, ChangeHook]
) -> Generator[None]:
    """Replace activations as functions of those at a site; all hooks are removed on exit.

    Args:
        model: a base model.
        family: its module paths.
        site: the site in the block.
        target: what is replaced, computed after the site in the same block; None for the site
            itself.
        functions: by block number, a function of the activations at the site and at the target.

    Yields:
        Nothing.
    """
    read: dict[int, Tensor] = {}

    def at_site(layer: int, function: ChangeHook) -> SiteHook:
        return functools.partial(read.__setitem__, layer) if target else lambda value: function(value, value)

    def at_target(layer: int, function: ChangeHook) -> SiteHook:
        return lambda value: function(read.pop(layer), value)

    with ExitStack() as hooks:
        of_site = {layer: at_site(layer, function) for layer, function in functions.items()}
        hooks.enter_context(hook_site(model, family, site, of_site))
        if target is not None:
            of_target = {layer: at_target(layer, function) for layer, function in functions.items()}
            hooks.enter_context(hook_site(model, family, target, of_target))
        yield


def _attach(block: nn.Module, family: Family, site: Site | Target, function: SiteHook) -> list[Any]:
    """Hook one site of one block.

    Some blocks (of OPT) flatten sentences and tokens into one axis; the function receives
    ``[sentences, tokens, neurons]`` all the same.
    """
    input_shape: list[torch.Size] = []

    def note_shape(_: nn.Module, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        input_shape[:] = [(inputs[0] if inputs else next(iter(kwargs.values()))).shape[:2]]

    def apply(value: Tensor) -> Tensor | None:
        if value.dim() == 3:
            return function(value)
        sentences, tokens = input_shape[0]
        if value.dim() != 2 or len(value) != sentences * tokens:
            raise ValueError(
                f"{site} must be [sentences, tokens, neurons] with {sentences} sentences of {tokens} tokens, "
                f"got {list(value.shape)}; check the path of {site} in model.modules"
            )
        replacement = function(value.reshape(sentences, tokens, -1))
        return None if replacement is None else replacement.flatten(0, 1)

    def after(_: nn.Module, __: Any, output: Any) -> Any:
        if not isinstance(output, tuple):
            return apply(output)
        return None if (value := apply(output[0])) is None else (value, *output[1:])

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> Any:
        return None if (value := apply(inputs[0])) is None else (value, *inputs[1:])

    handles = [block.register_forward_pre_hook(note_shape, with_kwargs=True)]
    if site == "residual":
        return [*handles, block.register_forward_hook(after)]
    module = submodule(block, path_at(family, site))
    if site in {"mlp_gate", "mlp_in", "mlp_out"}:
        return [*handles, module.register_forward_hook(after)]
    return [*handles, module.register_forward_pre_hook(before)]
