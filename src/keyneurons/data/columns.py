"""Tag columns: what a word can be labelled by, from its tags to its place in the tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from keyneurons.choices import FEATURE_COLUMN, JOIN
from keyneurons.data.scripts import script_of
from keyneurons.records import Sentence, Word

Column = Callable[[Sentence], Sequence[str | None]]
"""The label of every word of a sentence; None for a word without one."""

DISTANCE_BINS = ((1, "1"), (2, "2"), (4, "3-4"), (9, "5-9"))
"""Largest distance in words of each bin of ``head.distance``, and its name; the last is open."""

FARTHEST, DEEPEST = "10+", 5
ROOT = "root"


def column_of(name: str) -> Column:
    """The labels that a column name stands for.

    Args:
        name: ``upos``, ``xpos``, ``script`` (of the letters of a word), ``feats.NAME``, ``deprel``
            (with its subtype), ``deprel.main``, ``head.upos`` (of the word's head),
            ``head.direction`` (the head is to the ``left`` or to the ``right``), ``head.distance``
            (in words: 1, 2, 3-4, 5-9, 10+) or ``depth`` (edges to the root: 0 to 4, 5+). Several
            joined by ``+`` label the words that have all of them.

    Returns:
        A function of a sentence. The root has the ``head.upos`` and ``head.direction`` root and no
        ``head.distance``. A word whose head is unknown has no label.

    Raises:
        ValueError: If there is no such column.
    """
    parts = [_single(part) for part in name.split(JOIN)]
    return parts[0] if len(parts) == 1 else lambda sentence: _joined([part(sentence) for part in parts])


def columns_in(sentences: Sequence[Sentence]) -> list[str]:
    """The columns for which any of some sentences has labels; features by name."""
    features = sorted({name for sentence in sentences for word in sentence.words for name in word.feats})
    names = [*OF_WORDS, *(FEATURE_COLUMN + name for name in features), *OF_TREES]
    return [name for name in names if any(label is not None for s in sentences for label in column_of(name)(s))]


def uses_syntax(name: str) -> bool:
    """Whether a column reads heads or relations, besides tags."""
    return any(part in OF_TREES for part in name.split(JOIN))


def _single(name: str) -> Column:
    if name in OF_TREES:
        return OF_TREES[name]
    if name in OF_WORDS:
        of_word = OF_WORDS[name]
        return lambda sentence: [of_word(word) for word in sentence.words]
    if name.startswith(FEATURE_COLUMN) and name != FEATURE_COLUMN:
        feature = name.removeprefix(FEATURE_COLUMN)
        return lambda sentence: [word.feats.get(feature) for word in sentence.words]
    legal = ", ".join([*OF_WORDS, f"{FEATURE_COLUMN}NAME (a feature, such as {FEATURE_COLUMN}Number)", *OF_TREES])
    raise ValueError(f"there is no tag column {name!r}; the columns are {legal}, and several joined by {JOIN}")


def _joined(parts: Sequence[Sequence[str | None]]) -> list[str | None]:
    return [None if None in labels else JOIN.join(map(str, labels)) for labels in zip(*parts, strict=True)]


def _heads(sentence: Sentence) -> list[Word | None]:
    """The head of every word; None for the root and where it is unknown."""
    by_number = {word.number: word for word in sentence.words}
    return [by_number.get(word.head) if word.head else None for word in sentence.words]


def _of_head(label: Callable[[Word, Word], str | None], root: str | None) -> Column:
    """A column that compares every word with its head."""

    def labels(sentence: Sentence) -> list[str | None]:
        pairs = zip(sentence.words, _heads(sentence), strict=True)
        return [root if word.head == 0 else None if head is None else label(word, head) for word, head in pairs]

    return labels


def _distance(word: Word, head: Word) -> str:
    distance = abs(head.number - word.number)
    return next((name for most, name in DISTANCE_BINS if distance <= most), FARTHEST)


def _depths(sentence: Sentence) -> list[str | None]:
    """The number of edges from every word to the root.

    Raises:
        ValueError: If the heads of a sentence form a cycle.
    """
    by_number = {word.number: word for word in sentence.words}
    depths: dict[int, int | None] = {}
    for word in sentence.words:
        path: list[Word] = []
        step: Word | None = word
        while step is not None and step.number not in depths:
            if step in path:
                raise ValueError(f"sentence {sentence.id}: the heads of its words form a cycle (column depth)")
            path.append(step)
            step = by_number.get(step.head) if step.head else None
        depth = None if step is None else depths[step.number]
        for each in reversed(path):
            depth = 0 if each.head == 0 else None if depth is None else depth + 1
            depths[each.number] = depth
    return [_depth_bin(depths[word.number]) for word in sentence.words]


def _depth_bin(depth: int | None) -> str | None:
    return None if depth is None else str(depth) if depth < DEEPEST else f"{DEEPEST}+"


OF_WORDS: Mapping[str, Callable[[Word], str | None]] = {
    "upos": lambda word: word.upos,
    "xpos": lambda word: word.xpos,
    "script": lambda word: script_of(word.form),
}
"""Columns of the word alone: its tags and its script."""

OF_TREES: Mapping[str, Column] = {
    "deprel": lambda sentence: [word.deprel for word in sentence.words],
    "deprel.main": lambda sentence: [word.deprel and word.deprel.partition(":")[0] for word in sentence.words],
    "head.upos": _of_head(lambda word, head: head.upos, ROOT),
    "head.direction": _of_head(lambda word, head: "left" if head.number < word.number else "right", ROOT),
    "head.distance": _of_head(_distance, None),
    "depth": _depths,
}
"""Columns of the dependency tree."""
