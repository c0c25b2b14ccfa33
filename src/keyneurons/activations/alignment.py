"""Sentences to token ids, and every word to the tokens at which it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyneurons.choices import Pooling, ReadAt
from keyneurons.records import Sentence, Word

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Place = tuple[int, int]

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
    token that counts the space before the word into itself is found by the word's end. A token that spells white space
    only is no token of the word.

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
        return [self._encode(*aligned) for aligned in self._aligned(sentences)]

    def readable(self, sentences: Sequence[Sentence]) -> list[tuple[Word, ...]]:
        """The words of each sentence that have a token."""
        return [
            tuple(word for word, place in zip(sentence.words, places, strict=True) if place is not None)
            for sentence, _, places in self._aligned(sentences)
        ]

    def _aligned(self, sentences: Sequence[Sentence]) -> Iterator[tuple[Sentence, list[int], list[Place | None]]]:
        """Token ids of each sentence, and of each of its words the first and the last token that spell it."""
        marks = white_space_marks(self.tokenizer)
        for at in range(0, len(sentences), AT_ONCE):
            some = sentences[at : at + AT_ONCE]
            batch = self.tokenizer(
                [sentence.text for sentence in some],
                add_special_tokens=False,
                return_offsets_mapping=True,
                verbose=False,
            )
            for i, sentence in enumerate(some):
                ids, spans, pieces = batch["input_ids"][i], batch["offset_mapping"][i], batch.tokens(i)
                yield sentence, ids, _places(sentence, spans, pieces, marks)

    def _encode(self, sentence: Sentence, ids: list[int], places: list[Place | None]) -> Encoded:
        prefix = [] if self.bos is None else [self.bos]
        suffix = [] if self.eos is None else [self.eos]
        reads = []
        for word, place in zip(sentence.words, places, strict=True):
            if place is None:
                raise ValueError(
                    f"sentence {sentence.id}: no token of the model covers the word {word.form!r}; "
                    "dataset.unreadable_words=drop leaves out such words"
                )
            reads.append(self._read(place[0] + len(prefix), place[1] + len(prefix), sentence))
        return Encoded(tuple(prefix + ids + suffix), tuple(reads))

    def _read(self, first: int, last: int, sentence: Sentence) -> Place:
        if self.read_at == "prediction":
            if first == 0:
                raise ValueError(
                    f"sentence {sentence.id}: its first word is predicted from nothing; read_at=prediction needs a BOS "
                    "token (model.bos)"
                )
            return first - 1, first - 1
        return {"last": (last, last), "first": (first, first), "mean": (first, last)}[self.pooling]


def white_space_marks(tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    """The characters that a space becomes in a tokenizer's pieces: ``▁``, ``Ġ``, or none where it is left out."""
    backend, text = tokenizer.backend_tokenizer, "a a"
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    if backend.pre_tokenizer is not None:
        text = "".join(piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text))
    return frozenset(text) - {"a"}


def _places(
    sentence: Sentence, spans: Sequence[Place], pieces: Sequence[str], marks: frozenset[str]
) -> list[Place | None]:
    """The first and the last token of every word, None for a word that has none.

    They overlap its characters and, at both ends, spell more than white space. SentencePiece tokenizers put a mark in
    front of a text: where it stays a token of its own, its offsets are those of the first character, which is spelt
    by the next token.
    """
    places: list[Place | None] = []
    start = 0
    for word in sentence.words:
        while start < len(spans) and spans[start][1] <= word.start:
            start += 1
        first, end = start, start
        while end < len(spans) and spans[end][0] < word.end:
            end += 1
        while first < end and _is_blank(pieces[first], marks):
            first += 1
        while first < end and _is_blank(pieces[end - 1], marks):
            end -= 1
        places.append((first, end - 1) if first < end else None)
    return places


def _is_blank(piece: str, marks: frozenset[str]) -> bool:
    return all(character in marks or character.isspace() for character in piece)
