"""Surprisal of words in a lesioned model, for many conditions in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.passes import Passes, Start
from keyneurons.lesion.rows import Rows, Words, plan_rows, positions_read
from keyneurons.models.language_model import LanguageModel
from keyneurons.records import Site

HEAD_ROWS = 512  # positions whose logits are computed at a time


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
        on_progress: Callable[[float], object] = lambda _: None,
    ) -> Float[ndarray, "conditions words"]:
        """Surprisal of whole words: the sum over their tokens.

        Args:
            encoded: sentences, with the first and last token of each word.
            words: the words to measure.
            conditions: the lesions; a condition without neurons is the intact model.
            on_progress: called after every pass with the number of conditions done.

        Returns:
            Bits of every word under every condition.
        """
        bits: ndarray = self.text(encoded, words, conditions)(conditions, on_progress=on_progress)[0]
        return bits

    def text(
        self,
        encoded: Sequence[Encoded],
        words: Words,
        conditions: Iterable[Condition],
        readouts: Sequence[Readout] = (),
    ) -> Text:
        """Run the intact model over some words, and keep what conditions like these start from.

        Args:
            encoded: sentences, with the first and last token of each word.
            words: the words to measure.
            conditions: lesions with the same lowest layers as those to measure.
            readouts: the readouts to measure.

        Returns:
            A function that measures the words.
        """
        passes = Passes(self.model, self.site, self.donors, self.seed)
        later = frozenset(readout.layer for readout in readouts if readout.layer is not None)
        blocks = {min({*c.layers, *later}) for c in conditions if c.layers or later}
        n_tokens = positions_read(words, len(encoded), ends=bool(later))
        batches = []
        for sentences in plan_rows(n_tokens, self.batch_tokens):
            here = np.flatnonzero(np.isin(words.sentence, sentences))
            rows = Rows.of(encoded, sentences, int(n_tokens[sentences[0]]), words, here)
            batches.append(TextBatch(rows, here, *passes.intact(rows, blocks)))
        return Text(passes, tuple(batches), len(words), self.pass_tokens, later)


@dataclass(frozen=True)
class TextBatch:
    """Some sentences, the indices of their words, and states of the intact model."""

    rows: Rows
    here: Int[ndarray, " words"]
    predicting: Float[Tensor, "pieces hidden"]
    start_of: Mapping[int, Start]


@dataclass(frozen=True)
class Text:
    """Measures the words of a text under conditions; ``later`` are layers that readouts see."""

    passes: Passes
    batches: tuple[TextBatch, ...]
    n_words: int
    pass_tokens: int
    later: frozenset[int] = frozenset()

    @property
    def n_tokens(self) -> int:
        """Number of tokens that are computed for one condition."""
        return sum(batch.rows.ids.numel() for batch in self.batches)

    def __call__(
        self,
        conditions: Sequence[Condition],
        readouts: Sequence[Readout] = (),
        *,
        where: Bool[ndarray, "conditions words"] | None = None,
        on_progress: Callable[[float], object] = lambda _: None,
    ) -> Float[ndarray, "measures conditions words"]:
        """Surprisal and readouts of words from the same passes.

        Args:
            conditions: the lesions; a condition without neurons is the intact model.
            readouts: the further measures.
            where: the words whose predicting positions each condition changes; by default all
                positions are changed.
            on_progress: called after every pass with the number of conditions done; it is a
                fraction, since a pass covers some of the sentences.

        Returns:
            Bits, then the values of each readout.
        """
        measures = np.empty((1 + len(readouts), len(conditions), self.n_words))
        for batch in self.batches:
            for some in self._chunks(conditions, batch.rows):
                of_batch = None if where is None else batch.rows.changed(where[some][:, batch.here])
                values = self._measures(batch, [conditions[i] for i in some], readouts, of_batch)
                measures[np.ix_(np.arange(len(values)), some, batch.here)] = values
                on_progress(len(some) * batch.rows.ids.numel() / self.n_tokens)
        return measures

    def _chunks(self, conditions: Sequence[Condition], rows: Rows) -> Iterator[Int[ndarray, " some"]]:
        """Indices of the conditions of each pass, by lowest layer; the intact model is apart."""
        lowest = np.array([min(condition.layers, default=-1) for condition in conditions])
        at_once = max(1, self.pass_tokens // rows.ids.numel())
        for group in (np.flatnonzero(lowest < 0), np.flatnonzero(lowest >= 0)):
            ordered = group[np.argsort(lowest[group], kind="stable")]
            yield from (ordered[first : first + at_once] for first in range(0, len(ordered), at_once))

    @torch.inference_mode()
    def _measures(
        self,
        batch: TextBatch,
        conditions: Sequence[Condition],
        readouts: Sequence[Readout],
        where: Bool[Tensor, "conditions sentences tokens"] | None,
    ) -> Float[ndarray, "measures conditions words"]:
        rows, starts = batch.rows, {layer for c in conditions for layer in c.layers} | self.later
        predicting = batch.predicting.expand(len(conditions), -1, -1)
        states: dict[int, Tensor] = {}
        if starts:
            predicting, states = self.passes.lesioned(batch.start_of[min(starts)], conditions, rows, self.later, where)
        measures = [rows.bits(predicting, self._log_probability)]
        for readout in readouts:
            state = predicting[:, rows.opening] if readout.layer is None else states[readout.layer]
            measures.append(readout.read(state, batch.here).double().cpu().numpy())
        return np.stack(measures)

    def _log_probability(
        self, hidden: Float[Tensor, "rows hidden"], tokens: Int[Tensor, " rows"]
    ) -> Float[Tensor, " rows"]:
        parts = zip(torch.split(hidden, HEAD_ROWS), torch.split(tokens, HEAD_ROWS), strict=True)
        return torch.cat([self.passes.model.predictor.log_probability_by_parts(*part) for part in parts])
