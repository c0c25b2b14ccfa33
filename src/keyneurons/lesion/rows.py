"""Words of encoded sentences, and batches with the tokens of these words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded

PADDING = 16  # sentences of a batch differ in length by at most this share of the longest


@dataclass(frozen=True)
class Words:
    """Words of encoded sentences: sentence number, first and last token of each."""

    sentence: Int[ndarray, " words"]
    first: Int[ndarray, " words"]
    last: Int[ndarray, " words"]

    def __len__(self) -> int:
        return len(self.sentence)


@dataclass(frozen=True)
class Rows:
    """A batch of sentences, cut after the last position that is read, and the tokens of its words.

    ``row``, ``position``, ``token`` (id) and ``word`` describe each token of the words; ``opening``
    and ``closing`` index each word's first and last token among them. The models are causal, so
    later tokens, padding on the right included, change nothing and no mask is needed.
    """

    sentences: Sequence[int]
    ids: Int[Tensor, "sentences tokens"]
    row: Int[Tensor, " pieces"]
    position: Int[Tensor, " pieces"]
    token: Int[Tensor, " pieces"]
    word: Int[Tensor, " pieces"]
    opening: Int[Tensor, " words"]
    closing: Int[Tensor, " words"]

    @classmethod
    def of(
        cls, encoded: Sequence[Encoded], batch: Sequence[int], n_tokens: int, words: Words, here: Int[ndarray, " some"]
    ) -> Rows:
        """Cut or pad the sentences of a batch; list the tokens of its words (indices ``here``)."""
        ids = torch.zeros(len(batch), n_tokens, dtype=torch.long)
        for row, sentence in zip(ids, batch, strict=True):
            kept = encoded[sentence].ids[:n_tokens]
            row[: len(kept)] = torch.tensor(kept)
        row_of = {sentence: row for row, sentence in enumerate(batch)}
        pieces = [
            (row_of[s], position, encoded[s].ids[position], number)
            for number, s in enumerate(words.sentence[here].tolist())
            for position in range(int(words.first[here[number]]), int(words.last[here[number]]) + 1)
        ]
        row, position, token, word = (torch.tensor(column) for column in zip(*pieces, strict=True))
        closing = torch.bincount(word).cumsum(0) - 1
        opening = torch.cat([torch.zeros(1, dtype=torch.long), closing[:-1] + 1])
        return cls(batch, ids, row, position, token, word, opening, closing)

    def inputs(self, device: torch.device) -> dict[str, Any]:
        """Arguments of the model's forward."""
        return {"input_ids": self.ids.to(device), "use_cache": False}

    def changed(self, where: Bool[ndarray, "conditions words"]) -> Bool[Tensor, "conditions sentences tokens"]:
        """Mask of the positions that predict each condition's words."""
        mask = torch.zeros(len(where), *self.ids.shape, dtype=torch.bool)
        for of_condition, pieces in zip(mask, torch.from_numpy(where)[:, self.word], strict=True):
            of_condition[self.row[pieces], self.position[pieces] - 1] = True
        return mask

    def predicting(
        self, hidden: Float[Tensor, "conditions sentences tokens hidden"]
    ) -> Float[Tensor, "conditions pieces hidden"]:
        """Hidden states at the positions that predict the words' tokens."""
        return hidden[:, self.row.to(hidden.device), self.position.to(hidden.device) - 1]

    def ends(
        self, hidden: Float[Tensor, "conditions sentences tokens hidden"]
    ) -> Float[Tensor, "conditions words hidden"]:
        """Hidden states at the last tokens of the words."""
        row, position = self.row[self.closing], self.position[self.closing]
        return hidden[:, row.to(hidden.device), position.to(hidden.device)]

    def bits(
        self, predicting: Float[Tensor, "conditions pieces hidden"], log_probability: Callable[[Tensor, Tensor], Tensor]
    ) -> Float[ndarray, "conditions words"]:
        """Surprisal of the words in bits, from normed hidden states before each of their tokens."""
        n = len(predicting)
        tokens = self.token.to(predicting.device).repeat(n)
        nats = -log_probability(predicting.flatten(0, 1), tokens).view(n, -1).double().cpu()
        total = torch.zeros(n, len(self.closing), dtype=torch.float64).index_add_(1, self.word, nats)
        return (total / math.log(2)).numpy()


def positions_read(words: Words, n_sentences: int, *, ends: bool) -> Int[ndarray, " sentences"]:
    """Number of tokens of each sentence up to the last position read; 0 without words.

    A word is read where its last token is predicted and, if ``ends``, also at that token.
    """
    n_tokens = np.zeros(n_sentences, dtype=np.int64)
    np.maximum.at(n_tokens, words.sentence, words.last + int(ends))
    return n_tokens


def plan_rows(n_tokens: Int[ndarray, " sentences"], batch_tokens: int) -> list[list[int]]:
    """Group sentences of nearly equal length into batches of at most ``batch_tokens`` tokens.

    Sentences without positions to read are skipped. Conditions fill the passes, so batches need
    not be large, and padding is kept below 1/16 of a sentence.
    """
    batches: list[list[int]] = []
    for i in np.argsort(-n_tokens, kind="stable")[: np.count_nonzero(n_tokens)].tolist():
        longest = int(n_tokens[batches[-1][0]]) if batches else 0
        is_alike = (longest - n_tokens[i]) * PADDING <= longest
        if batches and is_alike and (len(batches[-1]) + 1) * longest <= batch_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
