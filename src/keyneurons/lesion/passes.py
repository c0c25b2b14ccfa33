"""Intact passes of a model, and lesioned passes that restart at the first lesioned block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from keyneurons.activations.capture import hook_site
from keyneurons.lesion.conditions import Condition, apply_conditions
from keyneurons.lesion.rows import Rows
from keyneurons.models.blocks import observe_blocks, run_block
from keyneurons.models.families import block_modules
from keyneurons.models.language_model import LanguageModel
from keyneurons.quiet import quiet_transformers
from keyneurons.records import Site


@dataclass(frozen=True)
class Start:
    """Start of lesioned passes: input of the first lesioned block, arguments of all from there."""

    hidden: Float[Tensor, "sentences tokens hidden"]
    calls: Mapping[int, Mapping[str, Any]]
    final: Float[Tensor, "sentences tokens hidden"]


@dataclass(frozen=True)
class Passes:
    """Passes of one model with lesions at one site.

    ``donors`` are activations of donor words by layer, for conditions that need them; the donor of
    a position depends on ``seed``, sentence and position alone.
    """

    model: LanguageModel
    site: Site
    donors: Mapping[int, Float[Tensor, "donors neurons"]] | None = None
    seed: int = 0

    def intact(self, rows: Rows, starts: Set[int]) -> dict[int | None, Start]:
        """One intact pass, and the state before each block where a lesioned pass starts."""
        base = self.model.predictor.base
        calls: dict[int, Mapping[str, Any]] = {}
        hidden: dict[int, Tensor] = {}

        def record(number: int, call: dict[str, Any]) -> None:
            calls[number] = call
            if number in starts:
                hidden[number] = next(iter(call.values()))

        with observe_blocks(base, self.model.family, min(starts, default=len(calls)), record), quiet_transformers():
            final = base(**rows.inputs(self.model.device)).last_hidden_state
        start_of: dict[int | None, Start] = {first: Start(hidden[first], calls, final) for first in starts}
        return start_of | {None: Start(final, calls, final)}

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
        """Outputs of the last norm under each condition, and of ``later`` blocks at the words."""
        predictor, family, n = self.model.predictor, self.model.family, len(conditions)
        where, donated = None if where is None else where.to(self.model.device), self._donated(rows, layers)
        first, states = min({*layers, *later}), {}

        def change(layer: int) -> Callable[[Tensor], Tensor]:
            return lambda value: apply_conditions(conditions, layer, value, where, donated.get(layer))

        hidden = start.hidden.repeat(n, 1, 1)
        with hook_site(predictor.base, family, self.site, {layer: change(layer) for layer in layers}):
            for number, block in enumerate(block_modules(predictor.base, family)):
                if number >= first:
                    hidden = run_block(block, hidden, _repeated(start.calls[number], len(start.hidden), n))
                if number in later:
                    states[number] = rows.ends(hidden.view(n, -1, *hidden.shape[1:]))
        final: Tensor = predictor.norm(hidden)
        return final.view(n, -1, *final.shape[1:]), states

    def _donated(self, rows: Rows, layers: Sequence[int]) -> dict[int, Float[Tensor, "sentences tokens neurons"]]:
        """The activation of a donor word for each position, by layer."""
        if self.donors is None:
            return {}
        n_donors, n_tokens = len(next(iter(self.donors.values()))), rows.ids.shape[1]
        donor = torch.stack([
            torch.from_numpy(np.random.default_rng([self.seed, sentence]).integers(n_donors, size=n_tokens))
            for sentence in rows.sentences
        ])
        return {layer: self.donors[layer][donor] for layer in layers}


def _repeated(call: Mapping[str, Any], n_sentences: int, n: int) -> dict[str, Any]:
    """The arguments of a block with the sentences repeated ``n`` times."""

    def repeat(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(repeat(part) for part in value)
        if isinstance(value, Tensor) and value.ndim > 1 and len(value) == n_sentences > 1:
            return value.repeat(n, *[1] * (value.ndim - 1))
        return value

    return {name: repeat(value) for name, value in call.items()}
