"""Measures of generated texts: shares of a tag, surprisal, and distances from the intact texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from keyneurons.analysis.steering import Sums, cosine_distance, word_distance
from keyneurons.pipeline.steering.taggers import Tagger, words_of
from keyneurons.pipeline.steering.texts import Texts

SHARE, KNOWN, STANZA, BITS, DISTANCE, DRIFT, PAIRS = (
    "share",
    "known",
    "stanza_share",
    "bits",
    "distance",
    "drift",
    "pair_accuracy",
)
INTACT = 0
"""Number of the intact condition."""


def measures_of(texts: Texts, rows: Sequence[int], tag: str, taggers: Mapping[str, Tagger]) -> dict[str, Sums]:
    """Measures of the texts of some conditions, summed over the samples of each prompt.

    Args:
        texts: the texts; the first condition is the intact model.
        rows: the conditions.
        tag: the tag whose share is measured.
        taggers: taggers by the name of the share: ``share`` and possibly ``stanza_share``.

    Returns:
        By name, ``share`` and ``stanza_share``: the tag among all tagged words; ``known``: words
        that the lexicon has, among all; ``bits``: surprisal of a token in the intact model;
        ``distance`` and ``drift``: edit distance in words, and 1 minus the cosine of the mean
        embeddings, to the intact continuation of the same prompt and seed.
    """
    rows, measures = list(rows), {}
    own = [texts.texts[row] for row in rows]
    for name, tagger in taggers.items():
        tags = [[tagger(*pair) for pair in zip(texts.prompts, row, strict=True)] for row in own]
        known = _table(tags, lambda each: sum(one is not None for one in each))
        measures[name] = _summed(texts, _table(tags, lambda each: each.count(tag)), known)
        if name == SHARE:
            measures[KNOWN] = _summed(texts, known, _table(tags, len))
    ones = np.ones((len(rows), len(texts.prompts)))
    measures[BITS] = _summed(texts, texts.bits[rows], texts.tokens[rows])
    measures[DISTANCE] = _summed(texts, _distances(own, texts.texts[INTACT]), ones)
    embeddings = np.broadcast_to(texts.embeddings[INTACT], texts.embeddings[rows].shape)
    measures[DRIFT] = _summed(texts, cosine_distance(texts.embeddings[rows], embeddings), ones)
    return measures


def between_samples(texts: Texts) -> dict[str, float]:
    """Mean distance and drift between intact texts of a prompt with different seeds.

    Empty if each prompt has one text only.
    """
    if (samples := texts.generation.samples) < 2:
        return {}
    places = np.arange(len(texts.prompts)).reshape(-1, samples)
    others = np.roll(places, -1, axis=1).ravel()
    intact, embeddings = texts.texts[INTACT], texts.embeddings[INTACT]
    distance = _distances([intact], [intact[i] for i in others]).mean()
    return {DISTANCE: float(distance), DRIFT: float(cosine_distance(embeddings, embeddings[others]).mean())}


def _distances(rows: Sequence[Sequence[str]], others: Sequence[str]) -> Float[ndarray, "rows texts"]:
    words = [words_of(text) for text in others]
    return np.array([
        [word_distance(words_of(text), other) for text, other in zip(row, words, strict=True)] for row in rows
    ])


def _table(
    tags: Sequence[Sequence[Sequence[str | None]]], count: Callable[[Sequence[str | None]], int]
) -> Float[ndarray, "rows texts"]:
    return np.array([[count(each) for each in row] for row in tags], dtype=np.float64)


def _summed(texts: Texts, totals: ndarray, counts: ndarray) -> Sums:
    """Sums over the texts of each prompt."""
    shape = len(totals), len(texts.generation.prompts), texts.generation.samples
    return Sums(*(each.astype(np.float64).reshape(shape).sum(axis=2) for each in (totals, counts)))
