"""How surprised a lesioned model is by words: many conditions in one pass, from the first lesioned block upwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.blocks import listening, run_block
from keyneurons.activations.capture import passing
from keyneurons.activations.extract import make_batch, plan_batches
from keyneurons.activations.families import block_modules
from keyneurons.activations.models import LanguageModel
from keyneurons.lesion.conditions import Condition, Layer
from keyneurons.records import Site

HEAD_ROWS = 256  # positions whose logits are held at a time


@dataclass(frozen=True)
class Words:
    """Words of some encoded sentences: the sentence of each, and its first and last token there."""

    sentence: Int[ndarray, " words"]
    first: Int[ndarray, " words"]
    last: Int[ndarray, " words"]

    def __len__(self) -> int:
        return len(self.sentence)


@dataclass(frozen=True)
class _Start:
    """Where lesioned passes start: what enters the first lesioned block, and how the blocks from there are called."""

    hidden: Float[Tensor, "sentences tokens hidden"]
    calls: Mapping[int, Mapping[str, Any]]
    final: Float[Tensor, "sentences tokens hidden"]


@dataclass(frozen=True)
class Surprisal:
    """Measures words in bits under conditions at one site of a model.

    ``pass_tokens`` go through a block at a time, over all conditions; ``batch_tokens`` are those of sentences alone.
    ``donors`` has, by layer, the activations of other words, for conditions that borrow; which word lends to which
    position depends on the ``seed``, the sentence and the position alone.
    """

    model: LanguageModel
    site: Site
    batch_tokens: int
    pass_tokens: int
    donors: Mapping[int, Float[Tensor, "donors neurons"]] | None = None
    seed: int = 0

    def __call__(
        self,
        encoded: Sequence[Encoded],
        words: Words,
        conditions: Sequence[Condition],
        *,
        where: Bool[ndarray, "conditions words"] | None = None,
        told: Callable[[int], object] = lambda _: None,
    ) -> Float[ndarray, "conditions words"]:
        """Surprisal of whole words, the sum over all their tokens.

        Args:
            encoded: sentences, each word with its first and last token.
            words: the words to measure.
            conditions: what is done; one without neurons is the model as it is.
            where: for each condition the words where it is done, at the tokens that predict them; else everywhere.
            told: hears of every batch how many conditions times words are done.

        Returns:
            Bits of every word under every condition.
        """
        found = np.empty((len(conditions), len(words)))
        order = np.argsort([min(condition.layers, default=math.inf) for condition in conditions], kind="stable")
        ordered = [conditions[i] for i in order]
        for batch in plan_batches([len(e.ids) for e in encoded], self.batch_tokens):
            here = np.flatnonzero(np.isin(words.sentence, batch))
            if len(here):
                rows = _Rows.of(encoded, batch, words, here)
                of_batch = None if where is None else where[order][:, here]
                for some, bits in self._batch(rows, ordered, of_batch):
                    found[np.ix_(order[some], here)] = bits
                    told(bits.size)
        return found

    @torch.inference_mode()
    def _batch(
        self, rows: _Rows, conditions: Sequence[Condition], where: Bool[ndarray, "conditions words"] | None
    ) -> Iterator[tuple[slice, Float[ndarray, "some words"]]]:
        """Bits of the words of some sentences, a few conditions at a time; these come by their lowest layer."""
        at_once = max(1, self.pass_tokens // rows.ids.numel())
        starts = sorted({min(c.layers) for c in conditions if c.layers})
        start_of = self._intact(rows, starts)
        for first in range(0, len(conditions), at_once):
            some = slice(first, first + at_once)
            chosen = conditions[some]
            layers = sorted({layer for c in chosen for layer in c.layers})
            if not layers:
                final = start_of[None].final[None].expand(len(chosen), *[-1] * 3)
            else:
                changed = None if where is None else rows.changed(where[some])
                lent = self._lent(rows, layers)
                final = self._lesioned(start_of[min(layers)], chosen, layers, changed, lent)
            yield some, rows.bits(final, self._log_probability)

    def _intact(self, rows: _Rows, starts: Sequence[int]) -> dict[int | None, _Start]:
        """One pass of the model as it is, with what enters each block that a lesioned pass starts from."""
        base = self.model.predictor.base
        calls: dict[int, Mapping[str, Any]] = {}
        hidden: dict[int, Tensor] = {}

        def heard(number: int, call: dict[str, Any]) -> None:
            calls[number] = call
            if number in starts:
                hidden[number] = next(iter(call.values()))

        with listening(base, self.model.family, min(starts, default=len(calls)), heard):
            final = base(**rows.inputs(self.model.device)).last_hidden_state
        found: dict[int | None, _Start] = {first: _Start(hidden[first], calls, final) for first in starts}
        return found | {None: _Start(final, calls, final)}

    def _lesioned(
        self,
        start: _Start,
        conditions: Sequence[Condition],
        layers: Sequence[int],
        changed: Bool[Tensor, "rows tokens"] | None,
        lent: Mapping[int, Float[Tensor, "sentences tokens neurons"]],
    ) -> Float[Tensor, "conditions sentences tokens hidden"]:
        """What leaves the last norm under each condition."""
        predictor, family, n = self.model.predictor, self.model.family, len(conditions)
        width, device = self.model.width(self.site), self.model.device
        where = None if changed is None else changed.to(device)

        def changing(layer: int) -> Callable[[Tensor], Tensor]:
            change = Layer(layer, conditions, width, device)
            return lambda value: change(value, where, lent.get(layer))

        hidden = start.hidden.repeat(n, 1, 1)
        with passing(predictor.base, family, self.site, {layer: changing(layer) for layer in layers}):
            for number, block in enumerate(block_modules(predictor.base, family)):
                if number >= min(layers):
                    hidden = run_block(block, hidden, _repeated(start.calls[number], len(start.hidden), n))
        final: Tensor = predictor.norm(hidden)
        return final.view(n, -1, *final.shape[1:])

    def _lent(self, rows: _Rows, layers: Sequence[int]) -> dict[int, Float[Tensor, "sentences tokens neurons"]]:
        """For each position the activation of another word."""
        if self.donors is None:
            return {}
        n_donors, n_tokens = len(next(iter(self.donors.values()))), rows.ids.shape[1]
        lender = torch.stack([
            torch.from_numpy(np.random.default_rng([self.seed, sentence]).integers(n_donors, size=n_tokens))
            for sentence in rows.sentences
        ])
        return {layer: self.donors[layer][lender].to(self.model.device) for layer in layers}

    def _log_probability(
        self, hidden: Float[Tensor, "rows hidden"], tokens: Int[Tensor, " rows"]
    ) -> Float[Tensor, " rows"]:
        parts = zip(torch.split(hidden, HEAD_ROWS), torch.split(tokens, HEAD_ROWS), strict=True)
        return torch.cat([self.model.predictor.log_probability(*part) for part in parts])


@dataclass(frozen=True)
class _Rows:
    """A batch of sentences and the tokens of its words: row and position of each, its id, and which word it is of."""

    sentences: Sequence[int]
    ids: Int[Tensor, "sentences tokens"]
    mask: Int[Tensor, "sentences tokens"]
    row: Int[Tensor, " pieces"]
    position: Int[Tensor, " pieces"]
    token: Int[Tensor, " pieces"]
    word: Int[Tensor, " pieces"]
    n_words: int

    @classmethod
    def of(
        cls,
        encoded: Sequence[Encoded],
        batch: Sequence[int],
        words: Words,
        here: Int[ndarray, " some"],
    ) -> _Rows:
        padded = make_batch([encoded[i] for i in batch], [0] * len(batch), pad_left=False)
        row_of = {sentence: row for row, sentence in enumerate(batch)}
        pieces = [
            (row_of[int(words.sentence[w])], position, number)
            for number, w in enumerate(here)
            for position in range(int(words.first[w]), int(words.last[w]) + 1)
        ]
        row, position, word = (torch.tensor(column) for column in zip(*pieces, strict=True))
        return cls(batch, padded.ids, padded.mask, row, position, padded.ids[row, position], word, len(here))

    def inputs(self, device: torch.device) -> dict[str, Any]:
        return {
            "input_ids": self.ids.to(device),
            "attention_mask": self.mask.to(device),
            "use_cache": False,
        }

    def changed(self, where: Bool[ndarray, "conditions words"]) -> Bool[Tensor, "rows tokens"]:
        """The positions that predict the words where each condition is done, all sentences of the first one first."""
        changed = torch.zeros(len(where), *self.ids.shape, dtype=torch.bool)
        for each, done in zip(changed, torch.from_numpy(where)[:, self.word], strict=True):
            each[self.row[done], self.position[done] - 1] = True
        return changed.flatten(0, 1)

    def bits(
        self,
        final: Float[Tensor, "conditions sentences tokens hidden"],
        log_probability: Callable[[Tensor, Tensor], Tensor],
    ) -> Float[ndarray, "conditions words"]:
        """Surprisal of the words, given what leaves the last norm."""
        n = len(final)
        hidden = final[:, self.row.to(final.device), self.position.to(final.device) - 1].flatten(0, 1)
        nats = -log_probability(hidden, self.token.to(final.device).repeat(n)).view(n, -1).double().cpu()
        total = torch.zeros(n, self.n_words, dtype=torch.float64).index_add_(1, self.word, nats)
        return (total / math.log(2)).numpy()


def _repeated(call: Mapping[str, Any], n_sentences: int, n: int) -> dict[str, Any]:
    """The arguments of a block for the same sentences several times over."""

    def repeat(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(repeat(part) for part in value)
        if isinstance(value, Tensor) and value.ndim > 1 and len(value) == n_sentences > 1:
            return value.repeat(n, *[1] * (value.ndim - 1))
        return value

    return {name: repeat(value) for name, value in call.items()}
