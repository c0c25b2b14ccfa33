"""Words of plain text by a fixed rule, near that of English treebanks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from keyneurons.records import Sentence, Word

RULE = (
    "A word is a run of letters and digits, or a number; English clitics (n't, 's, 'll and the like) and all other "
    "characters are words of their own."
)
"""What counts as a word, for people."""
_CLITIC = re.compile(r"(?<=[^\W_])(?:n['’]t|['’](?:s|re|ve|ll|d|m))(?!\w)", re.IGNORECASE)
_IN_NUMBER = re.compile(r"(?<=\d)[.,](?=\d)")
_WORD = re.compile(r"cd*|w[wm]*|pm*|m+")
_MEMBER = {"L": "w", "N": "w", "M": "m", "Cf": "m", "Z": " ", "Cc": " ", "Cn": "p"}


def split_words(text: str, name: str = "text") -> Sentence:
    """A line of text as a sentence with its words."""
    return Sentence(name, text, tuple(Word(text[start:end], start, end, None, None) for start, end in word_spans(text)))


def word_spans(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of every word; combining marks and joiners belong to their base."""
    kinds = [_kind(character) for character in text]
    for sign in _IN_NUMBER.finditer(text):
        kinds[sign.start()] = "w"
    for clitic in _CLITIC.finditer(text):
        kinds[clitic.start() : clitic.end()] = ["c", *"d" * (len(clitic[0]) - 1)]
    yield from (match.span() for match in _WORD.finditer("".join(kinds)))


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    return _MEMBER.get(category) or _MEMBER.get(category[0], "p")
