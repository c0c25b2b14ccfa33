"""Reads CoNLL-U files (https://universaldependencies.org/format.html)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from keyneurons.data.reading import read_text
from keyneurons.data.spans import Token, count_shared_spans, find_form, surface_text, word_spans
from keyneurons.records import Sentence, Word

_N_COLUMNS = 10
_ID = re.compile(r"(?P<word>[1-9][0-9]*)|(?P<first>[1-9][0-9]*)-(?P<last>[1-9][0-9]*)|(?P<empty>[0-9]+\.[1-9][0-9]*)")
_COMMENT = re.compile(r"#\s*(?P<key>text|sent_id)\s*=(?P<value>.*)", re.DOTALL)
# Characters that Python counts as printable although they are invisible: the code points with the
# property Default_Ignorable_Code_Point, and the blank Braille pattern.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

Line = tuple[int, str]


@dataclass(frozen=True)
class ConlluFile:
    """The sentences of one file.

    ``shared_spans`` is the number of words that share their span with another word.
    """

    sentences: tuple[Sentence, ...]
    shared_spans: int


def read_conllu(path: Path) -> ConlluFile:
    """Read a CoNLL-U file, plain or compressed (``.gz``, ``.xz``).

    Words are the rows with an integer id. The text of a sentence is its ``# text`` comment; without
    one, the text is built from the forms and ``SpaceAfter=No``. Where the two disagree about white
    space, ``# text`` takes precedence.

    Args:
        path: The file.

    Returns:
        The sentences in file order, each word with its character span.

    Raises:
        ValueError: If the file is malformed or has no tags. The message is one line with the file,
            the line number and the error.
    """
    path = Path(path)
    sentences = tuple(_sentence(path, block) for block in _blocks(read_text(path)))
    if not sentences:
        raise ValueError(f"{path}:1: the file has no sentences")
    if not any(word.upos or word.xpos or word.feats for sentence in sentences for word in sentence.words):
        raise ValueError(f"{path}:1: no word in the file has a tag: UPOS, XPOS and FEATS are _ everywhere")
    return ConlluFile(sentences, count_shared_spans(sentences))


def _blocks(text: str) -> Iterator[list[Line]]:
    """Yield the numbered lines of each sentence; the blank line after the last one is optional."""
    block: list[Line] = []
    for line in enumerate(text.split("\n"), start=1):
        if line[1].strip():
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _sentence(path: Path, block: Sequence[Line]) -> Sentence:
    notes = [line for _, line in block if line.startswith("#")]
    comments = {m["key"]: m["value"].strip(" \t") for line in notes if (m := _COMMENT.fullmatch(line))}
    lines, first_line = [line for line in block if not line[1].startswith("#")], block[0][0]
    text = comments.get("text")
    words = _plain_words(lines, text) if text else None
    if words is None:
        tokens = _tokens(path, lines)
        if not tokens:
            raise ValueError(f"{path}:{first_line}: the sentence has no words")
        text = text or surface_text(tokens)
        words = _words(path, tokens, text)
    assert text is not None
    return Sentence(comments.get("sent_id") or f"{path.name}:{first_line}", text, words)


def _plain_words(lines: Sequence[Line], text: str) -> tuple[Word, ...] | None:
    """The words of a sentence without ranges or empty nodes, in a third of the time.

    Returns:
        The words; None for any other sentence and for malformed ones, which ``_tokens`` and
        ``_words`` read row by row.
    """
    words: list[Word] = []
    position = 0
    for number, (_, line) in enumerate(lines, start=1):
        columns = line.split("\t")
        if len(columns) != _N_COLUMNS or columns[0] != str(number):
            return None
        form = columns[1]
        if not text.startswith(form, position):
            if not (text.startswith(form, position + 1) and text[position].isspace()):
                return None
            position += 1
        end = position + len(form)
        try:
            words.append(_word(columns, position, end, number))
        except ValueError:
            return None
        if not form or form.isspace():
            return None
        position = end
    return tuple(words) if words and not text[position:].strip() else None


# Returns the surface tokens of one sentence; its word ids must run from 1 to n.
def _tokens(path: Path, lines: Sequence[Line]) -> list[Token]:
    tokens: list[Token] = []
    n_words = 0
    for number, line in lines:
        columns, match = _columns(path, number, line)
        inside_range = bool(tokens) and n_words < tokens[-1].last
        if match["empty"]:
            continue
        if match["word"]:
            n_words += 1
            _check_id(path, number, int(match["word"]), n_words)
            if not inside_range:
                tokens.append(_token(number, columns, n_words))
            tokens[-1].words.append((number, columns))
        else:
            _check_id(path, number, int(match["first"]), n_words + 1)
            if inside_range or int(match["last"]) <= n_words + 1:
                raise ValueError(f"{path}:{number}: range {columns[0]} is empty or starts inside another range")
            tokens.append(_token(number, columns, int(match["last"])))
    if tokens and n_words < tokens[-1].last:
        raise ValueError(f"{path}:{tokens[-1].line}: the range ends at {tokens[-1].last}, the sentence at {n_words}")
    return tokens


def _columns(path: Path, number: int, line: str) -> tuple[list[str], re.Match[str]]:
    columns = line.split("\t")
    if len(columns) != _N_COLUMNS:
        raise ValueError(f"{path}:{number}: expected {_N_COLUMNS} columns separated by tabs, got {len(columns)}")
    match = _ID.fullmatch(columns[0])
    if match is None:
        raise ValueError(f"{path}:{number}: id {columns[0]!r} is not a word (3), range (3-4) or empty node (3.1)")
    if not columns[1].strip():
        raise ValueError(f"{path}:{number}: the form is empty")
    return columns, match


def _check_id(path: Path, number: int, got: int, expected: int) -> None:
    if got != expected:
        raise ValueError(f"{path}:{number}: id {got} is out of order: the next word is {expected}")


def _token(number: int, columns: Sequence[str], last: int) -> Token:
    misc = [item.strip() for item in columns[9].split("|")]
    return Token(number, columns[1], "SpaceAfter=No" not in misc, last)


def _words(path: Path, tokens: Sequence[Token], text: str) -> tuple[Word, ...]:
    words: list[Word] = []
    position = 0
    for token in tokens:
        start = find_form(text, token.form, position)
        if start is None:
            rest = text[position : position + 20]
            raise ValueError(
                f"{path}:{token.line}: form {token.form!r} does not match # text, which continues with {rest!r}"
            )
        position = start + len(token.form)
        for (number, columns), span in zip(token.words, word_spans(token, start), strict=True):
            try:
                words.append(_word(columns, *span, len(words) + 1))
            except ValueError as error:
                raise ValueError(f"{path}:{number}: {error}") from None
    if text[position:].strip():
        raise ValueError(f"{path}:{tokens[-1].line}: # text continues after the last word: {text[position:][:20]!r}")
    return tuple(words)


def _word(columns: Sequence[str], start: int, end: int, number: int) -> Word:
    tags = _tags(columns[3], columns[4], columns[5])
    return Word(columns[1], start, end, *tags, number, _head(columns[6]), _tag("DEPREL", columns[7]))


@lru_cache(maxsize=8192)
def _head(text: str) -> int | None:
    """Return the number of the head, or None for ``_``.

    Raises:
        ValueError: If it is no number.
    """
    if text in ("_", ""):
        return None
    if not text.isdecimal():
        raise ValueError(f"HEAD must be the id of a word, 0 or _, got {text!r}")
    return int(text)


@lru_cache(maxsize=8192)
def _tags(upos: str, xpos: str, feats: str) -> tuple[str | None, str | None, Mapping[str, str]]:
    """Return the tags of a word; cached, since few combinations occur."""
    return _tag("UPOS", upos), _tag("XPOS", xpos), _features(feats)


@lru_cache(maxsize=8192)
def _tag(column: str, text: str) -> str | None:
    """Return a tag, or None for ``_``.

    Raises:
        ValueError: If the tag has white space or invisible characters; two different tags could
            look the same.
    """
    if _INVISIBLE.search(text) or any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError(f"{column} must not contain white space or invisible characters, got {text!r}")
    return None if text in ("_", "") else text


@lru_cache(maxsize=8192)
def _features(text: str) -> dict[str, str]:
    """Parse the features of a word; cached, so words with equal features share one dictionary.

    Raises:
        ValueError: If the features are malformed.
    """
    if _tag("FEATS", text) is None:
        return {}
    pairs = [pair.partition("=") for pair in text.split("|")]
    if not all(name and value for name, _, value in pairs):
        raise ValueError(f"features are written Name=Value|Name=Value or _, got {text!r}")
    features = {name: value for name, _, value in pairs}
    if len(features) < len(pairs):
        raise ValueError(f"a feature occurs twice in {text!r}")
    return features
