"""Surprisal of words in a lesioned model, for many conditions in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.extract import plan_batches
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.passes import Passes
from keyneurons.lesion.rows import Rows, Words
from keyneurons.models.language_model import LanguageModel
from keyneurons.records import Site

HEAD_ROWS = 256  # positions whose logits are in memory at a time


@dataclass(frozen=True)
class Readout:
    """A further measure of every word under every condition.

    ``read`` maps hidden states and word indices to numbers. The states are outputs of block
    ``layer`` at the word's last token or, if ``layer`` is None, of the last norm where the word's
    first token is predicted.
    """

    layer: int | None
    read: Callable[
        [Float[Tensor, "conditions words hidden"], Int[ndarray, " words"]], Float[Tensor, "conditions words"]
    ]


@dataclass(frozen=True)
class Surprisal:
    """Measures words in bits under conditions at one site of a model.

    A batch has ``batch_tokens`` tokens of sentences, and at most ``pass_tokens`` over the
    conditions of one pass. ``donors`` and ``seed`` are those of ``Passes``.
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
        on_progress: Callable[[int], object] = lambda _: None,
    ) -> Float[ndarray, "conditions words"]:
        """Surprisal of whole words: the sum over their tokens.

        Args:
            encoded: sentences, with the first and last token of each word.
            words: the words to measure.
            conditions: the lesions; a condition without neurons is the intact model.
            where: the words whose predicting positions each condition changes; by default all
                positions are changed.
            on_progress: called after every pass with the number of conditions times words.

        Returns:
            Bits of every word under every condition.
        """
        bits: ndarray = self.measure(encoded, words, conditions, (), where=where, on_progress=on_progress)[0]
        return bits

    def measure(
        self,
        encoded: Sequence[Encoded],
        words: Words,
        conditions: Sequence[Condition],
        readouts: Sequence[Readout],
        *,
        where: Bool[ndarray, "conditions words"] | None = None,
        on_progress: Callable[[int], object] = lambda _: None,
    ) -> Float[ndarray, "measures conditions words"]:
        """Surprisal and readouts of words from the same passes.

        Args:
            encoded: as above.
            words: as above.
            conditions: as above.
            readouts: the further measures.
            where: as above.
            on_progress: as above.

        Returns:
            Bits, then the values of each readout.
        """
        measures = np.empty((1 + len(readouts), len(conditions), len(words)))
        order = np.argsort([min(condition.layers, default=math.inf) for condition in conditions], kind="stable")
        ordered = [conditions[i] for i in order]
        for batch in plan_batches([len(e.ids) for e in encoded], self.batch_tokens):
            here = np.flatnonzero(np.isin(words.sentence, batch))
            if len(here):
                rows = Rows.of(encoded, batch, words, here)
                of_batch = None if where is None else where[order][:, here]
                for some, values in self._batch(rows, ordered, readouts, here, of_batch):
                    measures[np.ix_(np.arange(len(values)), order[some], here)] = values
                    on_progress(values[0].size)
        return measures

    @torch.inference_mode()
    def _batch(
        self,
        rows: Rows,
        conditions: Sequence[Condition],
        readouts: Sequence[Readout],
        here: Int[ndarray, " words"],
        where: Bool[ndarray, "conditions words"] | None,
    ) -> Iterator[tuple[slice, Float[ndarray, "measures some words"]]]:
        """Measures of the words of one batch, for a few conditions at a time.

        ``conditions`` are in the order of their lowest layers.
        """
        passes = Passes(self.model, self.site, self.donors, self.seed)
        at_once = max(1, self.pass_tokens // rows.ids.numel())
        later = {readout.layer for readout in readouts if readout.layer is not None}
        start_of = passes.intact(rows, {min({*c.layers, *later}) for c in conditions if c.layers or later})
        for first in range(0, len(conditions), at_once):
            some = slice(first, first + at_once)
            chosen = conditions[some]
            layers = sorted({layer for c in chosen for layer in c.layers})
            states: dict[int, Tensor] = {}
            if not layers and not later:
                final = start_of[None].final[None].expand(len(chosen), *[-1] * 3)
            else:
                at = None if where is None else rows.changed(where[some])
                start = start_of[min({*layers, *later})]
                final, states = passes.lesioned(start, chosen, layers, rows, later, at)
            yield some, self._measures(rows, rows.predicting(final), states, readouts, here)

    def _measures(
        self,
        rows: Rows,
        predicting: Float[Tensor, "conditions pieces hidden"],
        states: Mapping[int, Float[Tensor, "conditions words hidden"]],
        readouts: Sequence[Readout],
        here: Int[ndarray, " words"],
    ) -> Float[ndarray, "measures conditions words"]:
        measures = [rows.bits(predicting, self._log_probability)]
        for readout in readouts:
            state = predicting[:, rows.opening] if readout.layer is None else states[readout.layer]
            measures.append(readout.read(state, here).double().cpu().numpy())
        return np.stack(measures)

    def _log_probability(
        self, hidden: Float[Tensor, "rows hidden"], tokens: Int[Tensor, " rows"]
    ) -> Float[Tensor, " rows"]:
        parts = zip(torch.split(hidden, HEAD_ROWS), torch.split(tokens, HEAD_ROWS), strict=True)
        return torch.cat([self.model.predictor.log_probability(*part) for part in parts])
