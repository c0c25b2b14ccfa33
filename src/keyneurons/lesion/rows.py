"""Words of encoded sentences, and batches with the tokens of these words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from keyneurons.activations.alignment import Encoded
from keyneurons.activations.extract import make_batch


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
    """A batch of sentences and the tokens of its words.

    ``row``, ``position``, ``token`` (id) and ``word`` describe each token of the words; ``opening``
    and ``closing`` index each word's first and last token among them.
    """

    sentences: Sequence[int]
    ids: Int[Tensor, "sentences tokens"]
    mask: Int[Tensor, "sentences tokens"]
    row: Int[Tensor, " pieces"]
    position: Int[Tensor, " pieces"]
    token: Int[Tensor, " pieces"]
    word: Int[Tensor, " pieces"]
    opening: Int[Tensor, " words"]
    closing: Int[Tensor, " words"]

    @classmethod
    def of(
        cls,
        encoded: Sequence[Encoded],
        batch: Sequence[int],
        words: Words,
        here: Int[ndarray, " some"],
    ) -> Rows:
        """Pad the sentences of a batch and list the tokens of its words (indices ``here``)."""
        padded = make_batch([encoded[i] for i in batch], [0] * len(batch), pad_left=False)
        row_of = {sentence: row for row, sentence in enumerate(batch)}
        pieces = [
            (row_of[int(words.sentence[w])], position, number)
            for number, w in enumerate(here)
            for position in range(int(words.first[w]), int(words.last[w]) + 1)
        ]
        row, position, word = (torch.tensor(column) for column in zip(*pieces, strict=True))
        closing = torch.bincount(word).cumsum(0) - 1
        opening = torch.cat([torch.zeros(1, dtype=torch.long), closing[:-1] + 1])
        return cls(batch, padded.ids, padded.mask, row, position, padded.ids[row, position], word, opening, closing)

    def inputs(self, device: torch.device) -> dict[str, Any]:
        """Arguments of the model's forward."""
        return {
            "input_ids": self.ids.to(device),
            "attention_mask": self.mask.to(device),
            "use_cache": False,
        }

    def changed(self, where: Bool[ndarray, "conditions words"]) -> Bool[Tensor, "rows tokens"]:
        """Mask of the positions that predict each condition's words, by condition and sentence."""
        mask = torch.zeros(len(where), *self.ids.shape, dtype=torch.bool)
        for of_condition, pieces in zip(mask, torch.from_numpy(where)[:, self.word], strict=True):
            of_condition[self.row[pieces], self.position[pieces] - 1] = True
        return mask.flatten(0, 1)

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
