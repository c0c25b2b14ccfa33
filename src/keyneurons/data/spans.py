"""Character spans of the words of a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from keyneurons.records import Sentence

Span = tuple[int, int]


@dataclass(slots=True)
class Token:
    """A surface token and its words: one word, or a multi-word range up to id ``last``.

    ``words`` contains the line number and the ten CoNLL-U columns of each word.
    """

    line: int
    form: str
    space_after: bool
    last: int
    words: list[tuple[int, list[str]]] = field(default_factory=list)


def surface_text(tokens: Sequence[Token]) -> str:
    """Join the forms of the tokens, with a space after each unless it has ``SpaceAfter=No``."""
    text = "".join(token.form + " " * token.space_after for token in tokens)
    return text.removesuffix(" ") if tokens[-1].space_after else text


def find_form(text: str, form: str, position: int) -> int | None:
    """Find where ``form`` starts at or after ``position``, skipping white space only; else None."""
    while not text.startswith(form, position):
        if not text[position : position + 1].isspace():
            return None
        position += 1
    return position


def word_spans(token: Token, start: int) -> list[Span]:
    """Compute the character span of each word of a token.

    If the forms of a multi-word range spell its surface (``do`` + ``n't``, ignoring case), each
    word has its own span; otherwise (``du`` = ``de`` + ``le``) all share the span of the range.

    Args:
        token: A token with its words.
        start: Start of the token in the text.

    Returns:
        Start and end of each word.
    """
    end = start + len(token.form)
    if len(token.words) == 1:
        return [(start, end)]
    forms = [columns[1] for _, columns in token.words]
    joined = "".join(forms)
    if len(joined) != len(token.form) or joined.lower() != token.form.lower():
        return [(start, end)] * len(forms)
    ends = [start + sum(map(len, forms[: i + 1])) for i in range(len(forms))]
    return list(zip([start, *ends[:-1]], ends, strict=True))


def count_shared_spans(sentences: Iterable[Sentence]) -> int:
    """Count the words that share their span with another word of the sentence."""
    shared = 0
    for sentence in sentences:
        spans = [(word.start, word.end) for word in sentence.words]
        if len(set(spans)) < len(spans):
            shared += sum(count for count in Counter(spans).values() if count > 1)
    return shared
