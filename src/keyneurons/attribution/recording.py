"""What a model carried where it predicts some words: all that is needed to go on from any block with other values.

Only the position that predicts a word is ever computed again, since what stands before it does not change. So going on
from a block costs one token per condition, however long the sentence is.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from keyneurons.activations.capture import hook_site
from keyneurons.models.blocks import observe_blocks, run_block
from keyneurons.models.families import Family
from keyneurons.quiet import quiet_transformers
from keyneurons.records import Site


@dataclass(frozen=True)
class Positions:
    """Where some words are predicted: row of the sentence in a batch, position of the token before the word."""

    sentence: Int[Tensor, " words"]
    token: Int[Tensor, " words"]

    def take(self, value: Tensor) -> Tensor:
        """What ``[sentences, tokens, ...]`` holds there; a first axis of 1 stands for all sentences."""
        sentence = self.sentence if len(value) > 1 else torch.zeros_like(self.sentence)
        return value[sentence.to(value.device), self.token.to(value.device)]

    def of_words(self, words: slice) -> Positions:
        """Those of some of the words."""
        return Positions(self.sentence[words], self.token[words])


@dataclass(frozen=True)
class Call:
    """How a block was called: its arguments by name (hidden states first), and the keys and values that it made."""

    arguments: Mapping[str, Any]
    keys: Float[Tensor, "sentences heads tokens size"]
    values: Float[Tensor, "sentences heads tokens size"]

    @property
    def kept(self) -> tuple[Tensor, Tensor]:
        """Keys and values."""
        return self.keys, self.values


@dataclass(frozen=True)
class Recording:
    """What the model carried at the positions that predict some words.

    ``inputs`` and ``calls`` are by block, ``activations`` by wanted layer; ``final`` is what leaves the last norm.
    """

    positions: Positions
    inputs: Sequence[Float[Tensor, "words hidden"]]
    calls: Sequence[Call]
    activations: Mapping[int, Float[Tensor, "words neurons"]]
    final: Float[Tensor, "words hidden"]

    def run(
        self, block: nn.Module, number: int, words: slice, hidden: Float[Tensor, "some copies hidden"]
    ) -> Float[Tensor, "some copies hidden"]:
        """Run a block on other hidden states at the positions of some words, several for each word.

        Each attends to what stands before its word's position, and to itself.
        """
        call, positions = self.calls[number], self.positions.of_words(words)
        first, *others = call.arguments
        arguments = {first: None, **{name: _there(call.arguments[name], positions) for name in others}}
        arguments |= {name: _Past(call, positions) for name in others if _is_cache(call.arguments[name])}
        seen = call.arguments.get("attention_mask")
        arguments["attention_mask"] = _mask(seen, positions, call.keys.shape[2], hidden.shape[1]).to(hidden.device)
        return run_block(block, hidden, arguments)


@torch.no_grad()
def record(
    model: nn.Module,
    family: Family,
    site: Site,
    layers: Sequence[int],
    inputs: Mapping[str, Any],
    positions: Positions,
) -> Recording:
    """Run a base model once over some sentences.

    Args:
        model: a base model.
        family: where its modules are.
        site: where activations are read.
        layers: the layers where they are.
        inputs: what its forward takes: token ids, mask, positions.
        positions: where to take down what it carries.

    Returns:
        What it carried there.
    """
    from transformers import DynamicCache

    cache = DynamicCache()  # without the config: a layer with a sliding window would forget
    arguments: list[dict[str, Any]] = []
    hidden: list[Tensor] = []
    activations: dict[int, Tensor] = {}

    def heard(_: int, call: dict[str, Any]) -> None:
        first = next(iter(call))
        hidden.append(positions.take(call[first]))
        arguments.append({**call, first: None})  # of whole sentences, at every block

    def hold(layer: int, value: Tensor) -> None:
        activations[layer] = positions.take(value)

    holding = {layer: functools.partial(hold, layer) for layer in layers}
    with observe_blocks(model, family, 0, heard), hook_site(model, family, site, holding), quiet_transformers():
        output = model(**{**inputs, "past_key_values": cache, "use_cache": True})
    layers_of_cache: list[Any] = cache.layers
    calls = [Call(a, kv.keys, kv.values) for a, kv in zip(arguments, layers_of_cache, strict=True)]
    return Recording(positions, hidden, calls, activations, positions.take(output.last_hidden_state))


class _Past:
    """Keys and values of what stands before some words, as a cache that keeps nothing of what is put beside them."""

    def __init__(self, call: Call, positions: Positions) -> None:
        sentences = positions.sentence.to(call.keys.device)
        self._keys, self._values = call.keys[sentences], call.values[sentences]

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return torch.cat([self._keys, keys], dim=2), torch.cat([self._values, values], dim=2)


def _is_cache(value: Any) -> bool:
    return hasattr(value, "update") and hasattr(value, "layers")


def _there(value: Any, positions: Positions) -> Any:
    """An argument that is given for every position (its number, its rotation) at the positions of some words."""
    if isinstance(value, tuple):
        return tuple(_there(part, positions) for part in value)
    if not isinstance(value, Tensor) or value.ndim not in {2, 3}:
        return value
    return positions.take(value)[:, None]


def _mask(mask: Tensor | None, positions: Positions, n_tokens: int, copies: int) -> Tensor:
    """What copies see, ``[words, 1, copies, tokens + copies]``: all before it that the position saw, and themselves.

    Of the kind that the model made: additive, or true where something is seen.
    """
    before = torch.arange(n_tokens, device=positions.token.device) < positions.token[:, None]
    if mask is not None:
        row = positions.take(mask.transpose(1, 2)).squeeze(1)[:, :n_tokens].to(before.device)
        before &= row if row.dtype == torch.bool else row == 0
    own = torch.eye(copies, dtype=torch.bool, device=before.device).expand(len(before), 1, -1, -1)
    seen = torch.cat([before[:, None, None].expand(-1, 1, copies, -1), own], dim=3)
    if mask is None or mask.dtype == torch.bool:
        return seen
    return torch.zeros(seen.shape, dtype=mask.dtype, device=seen.device).masked_fill_(
        ~seen, torch.finfo(mask.dtype).min
    )
