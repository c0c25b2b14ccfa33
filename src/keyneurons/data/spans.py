"""Where the words of a sentence stand in its text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from keyneurons.records import Sentence

Span = tuple[int, int]


@dataclass(slots=True)
class Token:
    """A stretch of surface text and the rows of its words: one, or those of a multi-word range up to id ``last``.

    ``words`` holds the line number and the ten CoNLL-U columns of each word.
    """

    line: int
    form: str
    space_after: bool
    last: int
    words: list[tuple[int, list[str]]] = field(default_factory=list)


def surface_text(tokens: Sequence[Token]) -> str:
    """The text that the tokens spell, with one space where ``SpaceAfter=No`` does not forbid it."""
    text = "".join(token.form + " " * token.space_after for token in tokens)
    return text.removesuffix(" ") if tokens[-1].space_after else text


def find_form(text: str, form: str, position: int) -> int | None:
    """Where ``form`` starts in ``text`` when only white space may stand between it and ``position``."""
    while not text.startswith(form, position):
        if not text[position : position + 1].isspace():
            return None
        position += 1
    return position


def word_spans(token: Token, start: int) -> list[Span]:
    """The characters of each word of a token that starts at ``start``.

    Where the forms of a multi-word range spell its surface (``do`` + ``n't``, whatever their case) each word has its
    own span; where they do not (``du`` = ``de`` + ``le``) all share the span of the range.

    Args:
        token: A token with its words.
        start: Where it starts in the text.

    Returns:
        Start and end of each word.
    """
    end = start + len(token.form)
    if len(token.words) == 1:
        return [(start, end)]
    forms = [columns[1] for _, columns in token.words]
    spelt = "".join(forms)
    if len(spelt) != len(token.form) or spelt.lower() != token.form.lower():
        return [(start, end)] * len(forms)
    ends = [start + sum(map(len, forms[: i + 1])) for i in range(len(forms))]
    return list(zip([start, *ends[:-1]], ends, strict=True))


def count_shared_spans(sentences: Iterable[Sentence]) -> int:
    """How many words share their span with another word of their sentence."""
    return sum(
        count
        for sentence in sentences
        for count in Counter((word.start, word.end) for word in sentence.words).values()
        if count > 1
    )
