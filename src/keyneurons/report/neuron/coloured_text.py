"""Sentences as pieces of text with a colour level and a tooltip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from keyneurons.records import Sentence

LEVELS = 10


@dataclass(frozen=True)
class Piece:
    """A piece of text: words with a tooltip, or text between words with level 0 and no tooltip.

    ``level`` is in -10..10, from full colour below to full colour above the centre of the scale.
    """

    text: str
    level: int = 0
    tooltip: str = ""
    marked: bool = False


@dataclass(frozen=True)
class WordActivation:
    """Tag of a word (None if not labelled) and its activation (None if not read)."""

    tag: str | None
    value: float | None


def level_of(value: float, centre: float, reach: float) -> int:
    """Distance of a value from the centre in tenths of the reach, clipped; 0 if the reach is 0."""
    return 0 if reach == 0 else round(LEVELS * max(-1.0, min(1.0, (value - centre) / reach)))


def pieces(
    sentence: Sentence, words: Sequence[WordActivation], *, centre: float, reach: float, marked: str | None
) -> Iterator[Piece]:
    """Split the text of a sentence into pieces, with its white space unchanged.

    Args:
        sentence: The sentence.
        words: Tag and activation of every word.
        centre: The activation without colour.
        reach: Distance from the centre with full colour.
        marked: The tag whose words are marked, if any.

    Yields:
        Words and the text between them. Words that share characters form one piece, coloured by the
        word farthest from the centre.
    """
    position = 0
    for start, end, members in _groups(sentence):
        if start > position:
            yield Piece(sentence.text[position:start])
        own = [words[i] for i in members]
        levels = [level_of(r.value, centre, reach) for r in own if r.value is not None]
        alone = len(members) == 1
        tooltip = "; ".join(
            ("" if alone else f"{sentence.words[i].form} ") + _tooltip(word)
            for i, word in zip(members, own, strict=True)
        )
        yield Piece(
            sentence.text[start:end],
            max(levels, key=abs, default=0),
            tooltip,
            any(r.tag is not None and r.tag == marked for r in own),
        )
        position = end
    if position < len(sentence.text):
        yield Piece(sentence.text[position:])


def _groups(sentence: Sentence) -> list[tuple[int, int, list[int]]]:
    """Start, end and word indices of groups of words that share characters."""
    groups: list[tuple[int, int, list[int]]] = []
    for i, word in enumerate(sentence.words):
        if groups and word.start < groups[-1][1]:
            start, end, members = groups[-1]
            groups[-1] = (start, max(end, word.end), [*members, i])
        else:
            groups.append((word.start, word.end, [i]))
    return groups


def _tooltip(word: WordActivation) -> str:
    value = "" if word.value is None else f" {word.value:.5g}"
    return f"{word.tag or 'not labelled'}{value}"
