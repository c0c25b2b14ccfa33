"""Effects of a lesion on one typed text: next token, surprisal by word, continuation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded
from keyneurons.analysis.controls import matched_random_sets
from keyneurons.explore.loading import LoadedRun
from keyneurons.explore.typed_text import TypedText
from keyneurons.lesion.conditions import Condition
from keyneurons.lesion.generation import Prompt, Sampling, continuations, decoded
from keyneurons.lesion.modes import scale_neurons
from keyneurons.lesion.passes import Passes, Start
from keyneurons.lesion.rows import Rows, Words

LARGEST_FACTOR = 100.0
INTACT, KEY, RANDOM = "intact", "key neurons", "random neurons"


@dataclass(frozen=True)
class Change:
    """A tag's key neurons scaled by ``factor``, beside the ``draw``-th set of random neurons."""

    tag: str
    factor: float
    draw: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and abs(self.factor) <= LARGEST_FACTOR):
            limit = f"{LARGEST_FACTOR:g}"
            raise ValueError(f"The factor must be a number from -{limit} to {limit}, got {self.factor}.")
        if not 0 <= self.draw < 2**31:
            raise ValueError(f"The random set must be a number from 0 to {2**31 - 1}, got {self.draw}.")

    def conditions(self, run: LoadedRun) -> dict[str, Condition]:
        """The intact model and both lesions, by name; a factor of 1 changes nothing."""
        own = run.sets.columns(self.tag)
        width, layers = run.sets.neurons_per_layer, run.sets.layers
        drawn = matched_random_sets(own, width, len(layers), 1, self.draw)[0].tolist()
        intact = Condition({}, {})
        if self.factor == 1:
            return dict.fromkeys((INTACT, KEY, RANDOM), intact)
        scaled = {
            name: scale_neurons(columns, self.factor, layers, width, run.read.basis)
            for name, columns in ((KEY, own), (RANDOM, drawn))
        }
        return {INTACT: intact} | scaled


@dataclass(frozen=True)
class Predicted:
    """Bits of every word (None: its first token is not predicted), and the next token.

    ``next`` are the probabilities of all tokens after the last line.
    """

    bits: tuple[float | None, ...]
    next: Float[ndarray, " tokens"]


@dataclass(frozen=True)
class IntactText:
    """The lines of a text as the intact model computes them, where lesions start from.

    ``measured`` are the numbers of the words with bits, among all words.
    """

    typed: TypedText
    encoded: tuple[Encoded, ...]
    rows: tuple[Rows, ...]
    predicting: tuple[Float[Tensor, "1 _pieces hidden"], ...]
    starts: tuple[Mapping[int, Start], ...]
    measured: tuple[int, ...]
    ids: tuple[int, ...]


def compute_intact(run: LoadedRun, typed: TypedText) -> IntactText:
    """Run the intact model over the lines of a text.

    A token that is never computed is appended to each line, so that the state behind its last
    token, which predicts the next one, is read as well.
    """
    encoded = replace(run.read, read_at="word", pooling="mean").encode(typed.sentences)
    passes, blocks = Passes(run.read.model, run.read.site), set(run.sets.layers)
    rows, predicting, starts, measured, number = [], [], [], [], 0
    for line in encoded:
        spans, n = [], len(line.ids)
        for i, (first, last) in enumerate(line.reads):
            if first > 0 and not (i and line.reads[i - 1][1] >= first):
                spans.append((first, last))
                measured.append(number + i)
        number += len(line.reads)
        table = np.array([*spans, (n, n)], dtype=np.int64)
        words = Words(np.zeros(len(table), dtype=np.int64), table[:, 0], table[:, 1])
        open_end = Encoded((*line.ids, line.ids[-1]), line.reads)
        rows.append(Rows.of([open_end], [0], n, words, np.arange(len(table))))
        states, start = passes.intact(rows[-1], blocks)
        predicting.append(states[None])
        starts.append(start)
    return IntactText(
        typed, tuple(encoded), tuple(rows), tuple(predicting), tuple(starts), tuple(measured), encoded[-1].ids
    )


def predict(run: LoadedRun, text: IntactText, conditions: Sequence[Condition]) -> list[Predicted]:
    """Predictions of a text under some conditions; those without neurons are the intact model's."""
    passes, lesioned = Passes(run.read.model, run.read.site), [c for c in conditions if c.layers]
    places = {id(condition): 1 + i for i, condition in enumerate(lesioned)}
    head = run.read.model.predictor
    bits, last = [], torch.empty(0)
    for rows, intact, starts in zip(text.rows, text.predicting, text.starts, strict=True):
        states = intact
        if lesioned:
            start = starts[min(layer for condition in lesioned for layer in condition.layers)]
            states = torch.cat([intact, passes.lesioned(start, lesioned, rows, frozenset(), None)[0]])
        with torch.inference_mode():
            bits.append(rows.bits(states, head.log_probability_by_parts)[:, :-1])
            last = head.logits(states[:, -1]).double().softmax(dim=1).cpu()
    measured = np.concatenate(bits, axis=1)
    n_words = sum(len(sentence.words) for sentence in text.typed.sentences)
    predicted = []
    for row in (places.get(id(condition), 0) for condition in conditions):
        of_word: list[float | None] = [None] * n_words
        for number, value in zip(text.measured, measured[row].tolist(), strict=True):
            of_word[number] = value
        predicted.append(Predicted(tuple(of_word), last[row].numpy()))
    return predicted


def continued(run: LoadedRun, text: IntactText, conditions: Sequence[Condition], n_tokens: int) -> tuple[str, ...]:
    """Greedy continuations of the last line under some conditions."""
    model, most = run.read.model, len(conditions) * (len(text.ids) + n_tokens)
    greedy = Sampling(n_tokens, temperature=0.0)
    found = continuations(model, run.read.site, conditions, [Prompt(text.ids, 0)], greedy, batch_tokens=most)
    return tuple(decoded(model, ids[0]) for ids in found)
