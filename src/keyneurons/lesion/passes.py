"""Passes of a model as it is, and from there passes under many conditions at once, from the first lesioned block on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from keyneurons.activations.capture import passing
from keyneurons.lesion.conditions import Condition, changed
from keyneurons.lesion.rows import Rows
from keyneurons.models.blocks import observe_blocks, run_block
from keyneurons.models.families import block_modules
from keyneurons.models.language_model import LanguageModel
from keyneurons.quiet import quiet_transformers
from keyneurons.records import Site


@dataclass(frozen=True)
class Start:
    """Where lesioned passes start: what enters the first lesioned block, and how the blocks from there are called."""

    hidden: Float[Tensor, "sentences tokens hidden"]
    calls: Mapping[int, Mapping[str, Any]]
    final: Float[Tensor, "sentences tokens hidden"]


@dataclass(frozen=True)
class Passes:
    """Passes of one model, with lesions at one site.

    ``donors`` has, by layer, the activations of other words, for conditions that borrow; which word lends to which
    position depends on the ``seed``, the sentence and the position alone.
    """

    model: LanguageModel
    site: Site
    donors: Mapping[int, Float[Tensor, "donors neurons"]] | None = None
    seed: int = 0

    def intact(self, rows: Rows, starts: Set[int]) -> dict[int | None, Start]:
        """One pass of the model as it is, with what enters each block that a lesioned pass starts from."""
        base = self.model.predictor.base
        calls: dict[int, Mapping[str, Any]] = {}
        hidden: dict[int, Tensor] = {}

        def heard(number: int, call: dict[str, Any]) -> None:
            calls[number] = call
            if number in starts:
                hidden[number] = next(iter(call.values()))

        with observe_blocks(base, self.model.family, min(starts, default=len(calls)), heard), quiet_transformers():
            final = base(**rows.inputs(self.model.device)).last_hidden_state
        found: dict[int | None, Start] = {first: Start(hidden[first], calls, final) for first in starts}
        return found | {None: Start(final, calls, final)}

    def lesioned(
        self,
        start: Start,
        conditions: Sequence[Condition],
        layers: Sequence[int],
        rows: Rows,
        later: Set[int],
        where: Bool[Tensor, "rows tokens"] | None,
    ) -> tuple[
        Float[Tensor, "conditions sentences tokens hidden"], dict[int, Float[Tensor, "conditions words hidden"]]
    ]:
        """What leaves the last norm under each condition, and what leaves later blocks at the words."""
        predictor, family, n = self.model.predictor, self.model.family, len(conditions)
        where, lent = None if where is None else where.to(self.model.device), self._lent(rows, layers)
        first, states = min({*layers, *later}), {}

        def changing(layer: int) -> Callable[[Tensor], Tensor]:
            return lambda value: changed(conditions, layer, value, where, lent.get(layer))

        hidden = start.hidden.repeat(n, 1, 1)
        with passing(predictor.base, family, self.site, {layer: changing(layer) for layer in layers}):
            for number, block in enumerate(block_modules(predictor.base, family)):
                if number >= first:
                    hidden = run_block(block, hidden, _repeated(start.calls[number], len(start.hidden), n))
                if number in later:
                    states[number] = rows.ends(hidden.view(n, -1, *hidden.shape[1:]))
        final: Tensor = predictor.norm(hidden)
        return final.view(n, -1, *final.shape[1:]), states

    def _lent(self, rows: Rows, layers: Sequence[int]) -> dict[int, Float[Tensor, "sentences tokens neurons"]]:
        """For each position the activation of another word."""
        if self.donors is None:
            return {}
        n_donors, n_tokens = len(next(iter(self.donors.values()))), rows.ids.shape[1]
        lender = torch.stack([
            torch.from_numpy(np.random.default_rng([self.seed, sentence]).integers(n_donors, size=n_tokens))
            for sentence in rows.sentences
        ])
        return {layer: self.donors[layer][lender] for layer in layers}


def _repeated(call: Mapping[str, Any], n_sentences: int, n: int) -> dict[str, Any]:
    """The arguments of a block for the same sentences several times over."""

    def repeat(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(repeat(part) for part in value)
        if isinstance(value, Tensor) and value.ndim > 1 and len(value) == n_sentences > 1:
            return value.repeat(n, *[1] * (value.ndim - 1))
        return value

    return {name: repeat(value) for name, value in call.items()}
