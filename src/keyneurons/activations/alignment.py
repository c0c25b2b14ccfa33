"""Sentences to token ids, and every word to the tokens at which it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from keyneurons.records import Sentence, Word

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ReadAt = Literal["word", "prediction"]
Pooling = Literal["last", "first", "mean"]


AT_ONCE = 1000
"""Sentences; what the tokenizer says of all of a large text would not fit into memory beside it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one sentence, BOS included, and for each word the first and the last token position to read."""

    ids: tuple[int, ...]
    reads: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Encoder:
    """Turns sentences into token ids and reading positions.

    Text goes to the tokenizer as it was written. A word is joined with the tokens that overlap its characters, so a
    token that counts the space before the word into itself is found by the word's end.

    ``read_at`` says whether a word is read at its own tokens or at the token before it, where the model predicts it;
    ``pooling`` which of its own tokens count.
    """

    tokenizer: PreTrainedTokenizerBase
    bos: int | None
    eos: int | None = None
    read_at: ReadAt = "word"
    pooling: Pooling = "last"

    def __call__(self, sentences: Sequence[Sentence]) -> list[Encoded]:
        """Encode sentences.

        Args:
            sentences: any number of sentences.

        Returns:
            One record a sentence, in the same order.

        Raises:
            ValueError: a word overlaps no token, or is predicted from nothing; the sentence is named.
        """
        encoded = []
        for at in range(0, len(sentences), AT_ONCE):
            some = sentences[at : at + AT_ONCE]
            batch = self.tokenizer(
                [sentence.text for sentence in some],
                add_special_tokens=False,
                return_offsets_mapping=True,
                verbose=False,
            )
            pairs = zip(batch["input_ids"], batch["offset_mapping"], strict=True)
            encoded += [self._encode(s, ids, spans) for s, (ids, spans) in zip(some, pairs, strict=True)]
        return encoded

    def _encode(self, sentence: Sentence, ids: list[int], spans: list[tuple[int, int]]) -> Encoded:
        prefix = [] if self.bos is None else [self.bos]
        suffix = [] if self.eos is None else [self.eos]
        reads = []
        start = 0
        for word in sentence.words:
            first, last = _tokens_of(word, spans, start, sentence)
            start = first
            reads.append(self._read(first + len(prefix), last + len(prefix), sentence))
        return Encoded(tuple(prefix + ids + suffix), tuple(reads))

    def _read(self, first: int, last: int, sentence: Sentence) -> tuple[int, int]:
        if self.read_at == "prediction":
            if first == 0:
                raise ValueError(
                    f"sentence {sentence.id}: its first word is predicted from nothing; read_at=prediction needs a BOS "
                    "token (model.bos)"
                )
            return first - 1, first - 1
        return {"last": (last, last), "first": (first, first), "mean": (first, last)}[self.pooling]


def _tokens_of(word: Word, spans: list[tuple[int, int]], start: int, sentence: Sentence) -> tuple[int, int]:
    """First and last token that overlap a word, searched from token ``start`` on.

    Raises:
        ValueError: no token does.
    """
    first = start
    while first < len(spans) and spans[first][1] <= word.start:
        first += 1
    last = first
    while last < len(spans) and spans[last][0] < word.end:
        last += 1
    if last == first:
        raise ValueError(f"sentence {sentence.id}: no token of the model covers the word {word.form!r}")
    return first, last - 1
