"""Intact passes of a model, and lesioned passes that restart in the first lesioned block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from keyneurons.activations.capture import ChangeHook, hook_changes
from keyneurons.lesion.conditions import Condition, apply_conditions, target_of
from keyneurons.lesion.rows import Rows
from keyneurons.models.blocks import observe_blocks, run_block
from keyneurons.models.families import FAMILIES, block_modules
from keyneurons.models.language_model import LanguageModel
from keyneurons.quiet import quiet_transformers
from keyneurons.records import Site


@dataclass(frozen=True)
class Start:
    """Start of lesioned passes: a block, its input, and the arguments of all blocks from there."""

    block: int
    hidden: Float[Tensor, "sentences tokens hidden"]
    calls: Mapping[int, Mapping[str, Any]]


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

    @torch.inference_mode()
    def intact(self, rows: Rows, blocks: Set[int]) -> tuple[Float[Tensor, "pieces hidden"], dict[int, Start]]:
        """Intact states where tokens of words are predicted, and the states before some blocks."""
        base = self.model.predictor.base
        calls: dict[int, Mapping[str, Any]] = {}
        hidden: dict[int, Tensor] = {}

        def record(number: int, call: dict[str, Any]) -> None:
            first, *others = call
            calls[number] = {first: None, **{name: call[name] for name in others}}
            if number in blocks:
                hidden[number] = call[first]

        with observe_blocks(base, self.model.family, min(blocks, default=len(calls)), record), quiet_transformers():
            final = base(**rows.inputs(self.model.device)).last_hidden_state
        return rows.predicting(final[None])[0], {block: Start(block, hidden[block], calls) for block in blocks}

    @torch.inference_mode()
    def lesioned(
        self,
        start: Start,
        conditions: Sequence[Condition],
        rows: Rows,
        later: Set[int],
        where: Bool[Tensor, "conditions sentences tokens"] | None,
    ) -> tuple[Float[Tensor, "conditions pieces hidden"], dict[int, Float[Tensor, "conditions words hidden"]]]:
        """Normed states that predict tokens of words, and outputs of ``later`` blocks at the words.

        The sentences are computed once up to the first lesioned site, and for every condition from
        there: known families broadcast the rest of that block, others are repeated before it.
        """
        predictor, family, n = self.model.predictor, self.model.family, len(conditions)
        layers = sorted({layer for condition in conditions for layer in condition.layers})
        where, donated = None if where is None else where.to(self.model.device), self._donated(rows, layers)
        hidden, n_sentences, states = start.hidden, len(start.hidden), {}

        def change(layer: int) -> ChangeHook:
            def changed(*at: Tensor) -> Tensor:
                split = [value.reshape(-1, n_sentences, *value.shape[1:]) for value in at]
                read, moved = (value.expand(n, -1, -1, -1) for value in split)
                new = apply_conditions(conditions, layer, read, where, donated.get(layer), moved)
                return new if len(split[0]) < n else new.flatten(0, 1)

            return changed

        functions = {layer: change(layer) for layer in layers}
        with hook_changes(predictor.base, family, self.site, target_of(conditions), functions):
            for number, block in enumerate(block_modules(predictor.base, family)):
                if number < start.block:
                    continue
                if layers and number == layers[0] and family not in FAMILIES.values():
                    hidden = hidden.repeat(n, 1, 1)
                hidden = run_block(block, hidden, _repeated(start.calls[number], n_sentences, len(hidden)))
                hidden = hidden.flatten(0, -3)
                if number in later:
                    states[number] = rows.ends(hidden.view(-1, n_sentences, *hidden.shape[1:])).expand(n, -1, -1)
        final: Tensor = predictor.norm(rows.predicting(hidden.view(-1, n_sentences, *hidden.shape[1:])))
        return final.expand(n, -1, -1), states

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


def _repeated(call: Mapping[str, Any], n_sentences: int, n_rows: int) -> dict[str, Any]:
    """The arguments of a block with the sentences repeated to ``n_rows`` rows."""

    def repeat(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(repeat(part) for part in value)
        if isinstance(value, Tensor) and value.ndim > 1 and len(value) == n_sentences > 1:
            return value.repeat(n_rows // n_sentences, *[1] * (value.ndim - 1))
        return value

    return {name: repeat(value) for name, value in call.items()}
