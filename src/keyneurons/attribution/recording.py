"""Recording of a forward pass, from which any block can be resumed with other activations.

Only the position that predicts a word is recomputed, since earlier positions do not change.
Resuming from a block therefore costs one token per condition, regardless of the sentence length.
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
    """Positions that predict words: row of the sentence in the batch, token before the word."""

    sentence: Int[Tensor, " words"]
    token: Int[Tensor, " words"]

    def take(self, value: Tensor) -> Tensor:
        """Values of ``[sentences, tokens, ...]`` at the positions; broadcasts a first axis of 1."""
        sentence = self.sentence if len(value) > 1 else torch.zeros_like(self.sentence)
        return value[sentence.to(value.device), self.token.to(value.device)]

    def of_words(self, words: slice) -> Positions:
        """The positions of some of the words."""
        return Positions(self.sentence[words], self.token[words])


@dataclass(frozen=True)
class Call:
    """Arguments of a block's call by name (hidden states first), and its keys and values."""

    arguments: Mapping[str, Any]
    keys: Float[Tensor, "sentences heads tokens size"]
    values: Float[Tensor, "sentences heads tokens size"]

    @property
    def kept(self) -> tuple[Tensor, Tensor]:
        """Keys and values."""
        return self.keys, self.values


@dataclass(frozen=True)
class Recording:
    """Hidden states and activations at the positions that predict some words.

    ``inputs`` and ``calls`` are by block, ``activations`` by recorded layer; ``final`` is the
    output of the last norm.
    """

    positions: Positions
    inputs: Sequence[Float[Tensor, "words hidden"]]
    calls: Sequence[Call]
    activations: Mapping[int, Float[Tensor, "words neurons"]]
    final: Float[Tensor, "words hidden"]

    def run(
        self, block: nn.Module, number: int, words: slice, hidden: Float[Tensor, "some copies hidden"]
    ) -> Float[Tensor, "some copies hidden"]:
        """Run a block on other hidden states at the positions of some words, several per word.

        Each copy attends to the positions before its own and to itself.
        """
        call, positions = self.calls[number], self.positions.of_words(words)
        first, *others = call.arguments
        arguments = {first: None, **{name: _select(call.arguments[name], positions) for name in others}}
        arguments |= {name: _Past(call, positions) for name in others if _is_cache(call.arguments[name])}
        mask = call.arguments.get("attention_mask")
        arguments["attention_mask"] = _mask(mask, positions, call.keys.shape[2], hidden.shape[1]).to(hidden.device)
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
    """Run a base model once over some sentences and record it.

    Args:
        model: a base model.
        family: its architecture family, which locates the modules.
        site: the site whose activations are recorded.
        layers: the layers whose activations are recorded.
        inputs: arguments of the forward pass: token ids, mask, positions.
        positions: the positions to record.

    Returns:
        The recording.
    """
    from transformers import DynamicCache

    cache = DynamicCache()  # without the config: sliding-window layers would drop tokens
    arguments: list[dict[str, Any]] = []
    hidden: list[Tensor] = []
    activations: dict[int, Tensor] = {}

    def record_call(_: int, call: dict[str, Any]) -> None:
        first = next(iter(call))
        hidden.append(positions.take(call[first]))
        arguments.append({**call, first: None})  # without the hidden states of whole sentences

    def record_activation(layer: int, value: Tensor) -> None:
        activations[layer] = positions.take(value)

    hooks = {layer: functools.partial(record_activation, layer) for layer in layers}
    with observe_blocks(model, family, 0, record_call), hook_site(model, family, site, hooks), quiet_transformers():
        output = model(**{**inputs, "past_key_values": cache, "use_cache": True})
    layers_of_cache: list[Any] = cache.layers
    calls = [Call(a, kv.keys, kv.values) for a, kv in zip(arguments, layers_of_cache, strict=True)]
    return Recording(positions, hidden, calls, activations, positions.take(output.last_hidden_state))


class _Past:
    """Key-value cache of the positions before some words; it does not store new keys and values."""

    def __init__(self, call: Call, positions: Positions) -> None:
        sentences = positions.sentence.to(call.keys.device)
        self._keys, self._values = call.keys[sentences], call.values[sentences]

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return torch.cat([self._keys, keys], dim=2), torch.cat([self._values, values], dim=2)


def _is_cache(value: Any) -> bool:
    return hasattr(value, "update") and hasattr(value, "layers")


def _select(value: Any, positions: Positions) -> Any:
    """Select a per-position argument (position id, rotary embedding) at some positions."""
    if isinstance(value, tuple):
        return tuple(_select(part, positions) for part in value)
    if not isinstance(value, Tensor) or value.ndim not in {2, 3}:
        return value
    return positions.take(value)[:, None]


def _mask(mask: Tensor | None, positions: Positions, n_tokens: int, copies: int) -> Tensor:
    """Attention mask of copies, ``[words, 1, copies, tokens + copies]``.

    Each copy sees itself and the earlier positions that its own position saw in the recorded pass.
    The mask is of the model's kind: additive, or boolean with true for visible.
    """
    before = torch.arange(n_tokens, device=positions.token.device) < positions.token[:, None]
    if mask is not None:
        row = positions.take(mask.transpose(1, 2)).squeeze(1)[:, :n_tokens].to(before.device)
        before &= row if row.dtype == torch.bool else row == 0
    own = torch.eye(copies, dtype=torch.bool, device=before.device).expand(len(before), 1, -1, -1)
    visible = torch.cat([before[:, None, None].expand(-1, 1, copies, -1), own], dim=3)
    if mask is None or mask.dtype == torch.bool:
        return visible
    return torch.zeros(visible.shape, dtype=mask.dtype, device=visible.device).masked_fill_(
        ~visible, torch.finfo(mask.dtype).min
    )
