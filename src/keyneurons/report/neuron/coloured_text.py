"""A sentence cut into pieces of text, each word with the level of its colour and what it says when it is pointed at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from keyneurons.records import Sentence

LEVELS = 10


@dataclass(frozen=True)
class Piece:
    """A stretch of text; what is no word has nothing to tell and level 0, and its ``told`` is empty.

    ``level`` is in -10..10, from full colour below to full colour above the centre of the scale.
    """

    text: str
    level: int = 0
    told: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Reading:
    """A word of a sentence: its tag, or None where it does not count, and its activation, or None where it has none."""

    tag: str | None
    value: float | None


def level_of(value: float, centre: float, reach: float) -> int:
    """How far from the centre a value is, in tenths of the reach; a scale without reach has one colour only."""
    return 0 if reach == 0 else round(LEVELS * max(-1.0, min(1.0, (value - centre) / reach)))


def pieces(
    sentence: Sentence, readings: Sequence[Reading], *, centre: float, reach: float, marked: str | None
) -> Iterator[Piece]:
    """The whole text of a sentence in order, white space as it stands.

    Args:
        sentence: the sentence.
        readings: one for every word.
        centre: the activation without colour.
        reach: the distance from it with the full colour.
        marked: the tag whose words are marked, if any.

    Yields:
        Words and what is between them; words that share characters are one piece, in the colour of the farthest.
    """
    position = 0
    for start, end, members in _groups(sentence):
        if start > position:
            yield Piece(sentence.text[position:start])
        own = [readings[i] for i in members]
        levels = [level_of(r.value, centre, reach) for r in own if r.value is not None]
        alone = len(members) == 1
        told = "; ".join(
            ("" if alone else f"{sentence.words[i].form} ") + _told(reading)
            for i, reading in zip(members, own, strict=True)
        )
        yield Piece(
            sentence.text[start:end],
            max(levels, key=abs, default=0),
            told,
            any(r.tag is not None and r.tag == marked for r in own),
        )
        position = end
    if position < len(sentence.text):
        yield Piece(sentence.text[position:])


def _groups(sentence: Sentence) -> list[tuple[int, int, list[int]]]:
    """Start, end and places of the words that share characters."""
    groups: list[tuple[int, int, list[int]]] = []
    for i, word in enumerate(sentence.words):
        if groups and word.start < groups[-1][1]:
            start, end, members = groups[-1]
            groups[-1] = (start, max(end, word.end), [*members, i])
        else:
            groups.append((word.start, word.end, [i]))
    return groups


def _told(reading: Reading) -> str:
    value = "" if reading.value is None else f" {reading.value:.5g}"
    return f"{reading.tag or 'not counted'}{value}"
