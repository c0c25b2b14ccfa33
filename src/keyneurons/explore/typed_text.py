"""Typed text as sentences with words."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace

from keyneurons.activations.alignment import Encoded, Encoder
from keyneurons.data.word_splitting import RULE as WORDS
from keyneurons.data.word_splitting import split_words
from keyneurons.models.language_model import LanguageModel
from keyneurons.records import Sentence

MOST_CHARACTERS, MOST_LINES, MOST_TOKENS = 600, 8, 100
RULE = f"{WORDS} Every line is a sentence. The words of a treebank can differ."
"""What counts as a word, for the page."""


@dataclass(frozen=True)
class TypedText:
    """The lines of a typed text as sentences, with what was cut or skipped."""

    sentences: tuple[Sentence, ...]
    notes: tuple[str, ...] = ()


def read_typed(text: str, model: LanguageModel, room: int) -> TypedText:
    """Split typed text into sentences that the model can read.

    Args:
        text: Any text.
        model: The model, for its tokenizer.
        room: Number of tokens that the model takes.

    Returns:
        The sentences, and a note for everything that was cut or skipped.

    Raises:
        ValueError: The text has no word that the tokenizer has a token for.
    """
    typed = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates
    notes = []
    if len(typed) > MOST_CHARACTERS:
        notes.append(f"Only the first {MOST_CHARACTERS:,} of {len(typed):,} characters are read.")
    lines = [line for line in map(_plain, typed[:MOST_CHARACTERS].splitlines()) if line]
    if len(lines) > MOST_LINES:
        notes.append(f"Only the first {MOST_LINES} of {len(lines)} lines are read.")
    sentences = [split_words(line, f"line {i}") for i, line in enumerate(lines[:MOST_LINES], start=1)]
    try:
        readable = Encoder(model.tokenizer, bos=None).readable(sentences)
    except Exception as error:  # the type of errors from the tokenizers package
        raise ValueError(f"The tokenizer cannot read this text: {error}.") from error
    n_unread = sum(len(each.words) for each in sentences) - sum(map(len, readable))
    if n_unread:
        notes.append(f"The tokenizer has no token for {n_unread} of the words; they are skipped.")
    sentences = [replace(each, words=words) for each, words in zip(sentences, readable, strict=True) if words]
    if not sentences:
        raise ValueError("The tokenizer can read none of these characters." if n_unread else "Type a sentence.")
    fitting = list(_fitting(sentences, model, min(MOST_TOKENS, room)))
    n_read, n_words = sum(len(each.words) for each in fitting), sum(len(each.words) for each in sentences)
    if n_read < n_words:
        limit = min(MOST_TOKENS, room)
        notes.append(f"Only the first {n_read} of {n_words} words are read: the page takes {limit} tokens.")
    if not fitting:
        raise ValueError(f"The first word alone has more than {min(MOST_TOKENS, room)} tokens.")
    return TypedText(tuple(fitting), tuple(notes))


def _plain(line: str) -> str:
    """A line with control characters as spaces, stripped."""
    return "".join(" " if unicodedata.category(c) == "Cc" else c for c in line).strip()


def _fitting(sentences: list[Sentence], model: LanguageModel, room: int) -> Iterator[Sentence]:
    """The first words of the sentences that fit into ``room`` tokens; a cut line ends at a word."""
    encoded: list[Encoded] = Encoder(model.tokenizer, bos=None, pooling="mean")(sentences)
    for sentence, own in zip(sentences, encoded, strict=True):
        n_words = sum(last < room for _, last in own.reads)
        if n_words == len(sentence.words):
            yield sentence
            room -= len(own.ids)
            continue
        if n_words:
            words = sentence.words[:n_words]
            yield replace(sentence, words=words, text=sentence.text[: words[-1].end])
        return
