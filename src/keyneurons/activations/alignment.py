"""Tokenisation of sentences, and alignment of words with tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyneurons.choices import Pooling, ReadAt
from keyneurons.records import Sentence, Word

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Place = tuple[int, int]

SENTENCES_AT_ONCE = 1000
"""Sentences per call of the tokenizer, whose output for a large text would not fit into memory."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of one sentence with BOS, and the first and last position to read of each word."""

    ids: tuple[int, ...]
    reads: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Encoder:
    """Converts sentences to token ids and reading positions.

    The tokenizer receives the text as written. A word is aligned with the tokens that overlap its
    characters, so a token that includes the space before the word is matched by the word's end.
    Tokens of white space alone are not part of a word.

    ``read_at`` selects the word's own tokens or the token before it, where the model predicts it;
    ``pooling`` selects among the word's own tokens.
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
            One record per sentence, in the same order.

        Raises:
            ValueError: a word overlaps no token, or no token precedes a predicted word; the message
                names the sentence.
        """
        return [self._encode(*aligned) for aligned in self._aligned(sentences)]

    def readable(self, sentences: Sequence[Sentence]) -> list[tuple[Word, ...]]:
        """The words of each sentence that overlap a token."""
        return [
            tuple(word for word, place in zip(sentence.words, places, strict=True) if place is not None)
            for sentence, _, places in self._aligned(sentences)
        ]

    def _aligned(self, sentences: Sequence[Sentence]) -> Iterator[tuple[Sentence, list[int], list[Place | None]]]:
        """Each sentence with its token ids and the first and last token of each word."""
        marks = white_space_marks(self.tokenizer)
        for start in range(0, len(sentences), SENTENCES_AT_ONCE):
            some = sentences[start : start + SENTENCES_AT_ONCE]
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
                    f"sentence {sentence.id}: no token overlaps the word {word.form!r}; "
                    "dataset.unreadable_words=drop removes such words"
                )
            reads.append(self._read(place[0] + len(prefix), place[1] + len(prefix), sentence))
        return Encoded(tuple(prefix + ids + suffix), tuple(reads))

    def _read(self, first: int, last: int, sentence: Sentence) -> Place:
        if self.read_at == "prediction":
            if first == 0:
                raise ValueError(
                    f"sentence {sentence.id}: no token before the first word; read_at=prediction needs a BOS token "
                    "(model.bos)"
                )
            return first - 1, first - 1
        return {"last": (last, last), "first": (first, first), "mean": (first, last)}[self.pooling]


def white_space_marks(tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    """The characters that mark a space in a tokenizer's pieces: ``▁``, ``Ġ``, or none."""
    backend, text = tokenizer.backend_tokenizer, "a a"
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    if backend.pre_tokenizer is not None:
        text = "".join(piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text))
    return frozenset(text) - {"a"}


def _places(
    sentence: Sentence, spans: Sequence[Place], pieces: Sequence[str], marks: frozenset[str]
) -> list[Place | None]:
    """The first and last token of every word, or None for a word without tokens.

    Both overlap the word's characters and contain more than white space. SentencePiece tokenizers
    put a mark in front of a text; as a separate token it has the offsets of the first character,
    which belongs to the next token.
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
