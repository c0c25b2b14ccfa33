"""Resampling of words by sentence, since words of one sentence are not independent."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from keyneurons.choices import Permuted

ROUNDING = 1e-9  # halves round up on every machine
LEAST_ALIKE = 10  # sentences that exchange their tags: 1 in 10 keeps its own


def split_halves(
    sentence_of_word: Int[ndarray, " words"], n: int, seed: int
) -> list[tuple[Int[ndarray, " _first"], Int[ndarray, " _second"]]]:
    """Split the sentences into random halves, ``n`` times.

    Sentences are drawn regardless of length, so the halves differ in words. The i-th split depends
    only on the seed and i.

    Returns:
        The word positions of both halves, ascending; with an odd number of sentences the first half
        has one more.

    Raises:
        ValueError: If there are fewer than 2 sentences, their numbers descend, or ``n`` is below 1.
    """
    is_start = _sentence_starts(sentence_of_word, at_least=2)
    sentence, n_sentences = is_start.cumsum() - 1, int(is_start.sum())
    halves = []
    for rng in _streams(n, seed):
        in_first = rng.permutation(n_sentences) < (n_sentences + 1) // 2
        halves.append((np.flatnonzero(in_first[sentence]), np.flatnonzero(~in_first[sentence])))
    return halves


def bootstraps(sentence_of_word: Int[ndarray, " words"], n: int, seed: int) -> list[Int[ndarray, " _words"]]:
    """Draw as many sentences as there are, with replacement, ``n`` times: the cluster bootstrap.

    Sentences are drawn regardless of length, so the number of words varies. The i-th resample
    depends only on the seed and i.

    Returns:
        The word positions of each resample in sentence order; repeated sentences appear copy by
        copy.

    Raises:
        ValueError: If there are fewer than 2 sentences, their numbers descend, or ``n`` is below 1.
    """
    is_start = _sentence_starts(sentence_of_word, at_least=2)
    n_sentences = int(is_start.sum())
    return [_words_of(np.sort(rng.integers(n_sentences, size=n_sentences)), is_start) for rng in _streams(n, seed)]


def permuted_tags(
    tags: Int[ndarray, " words"], sentence_of_word: Int[ndarray, " words"], unit: Permuted, rng: np.random.Generator
) -> Int[ndarray, " words"]:
    """Permute the tags of the words, for a null distribution with as many words of each tag.

    ``words`` shuffles all tags. ``within_sentence`` shuffles the tags of each sentence, which
    preserves what neurons know about whole sentences. ``like_length`` exchanges the tag sequences
    of sentences of equal or similar length, which preserves position, length and the order of tags;
    see ``exchange_of_like_length``. A permutation test is exact if the tags are exchangeable in
    this way. Between unequal lengths the counts of tags change slightly; a tag left with fewer than
    2 words keeps its own, which makes the test conservative for it.

    Returns:
        The tags of the words.

    Raises:
        ValueError: If the numbers of tags and words differ, sentence numbers descend, or there are
            too few sentences.
    """
    if len(tags) != len(sentence_of_word):
        raise ValueError(f"every word needs a tag, got {len(tags)} tags and {len(sentence_of_word)} words")
    is_start = _sentence_starts(sentence_of_word, at_least=2 if unit == "like_length" else 1)
    permuted: Int[ndarray, " words"]
    if unit == "words":
        permuted = tags[rng.permutation(len(tags))]
    elif unit == "within_sentence":
        permuted = tags[np.lexsort((rng.random(len(tags)), sentence_of_word))]
    else:
        least = np.minimum(np.bincount(tags), 2)
        permuted, lost = tags[exchange_of_like_length(is_start, rng)], least < 0
        while (few := np.bincount(permuted, minlength=len(least)) < least).any():
            lost |= few
            permuted[lost[tags]] = tags[lost[tags]]
    return permuted


def exchange_of_like_length(is_start: Bool[ndarray, " words"], rng: np.random.Generator) -> Int[ndarray, " words"]:
    """Exchange sentences of like length, within groups of at least 10.

    A group holds all sentences of one length, or of the next longer lengths too until it has
    ``LEAST_ALIKE``. Words of sentences of unequal length correspond by their relative position, so
    that the first and the last do: all words of a sentence still come from one other sentence, and
    words in the middle of the other are dropped or repeated.

    Args:
        is_start: Whether each word starts a sentence.
        rng: Source of random numbers.

    Returns:
        For each word, the position of the word that replaces it.
    """
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=len(is_start))
    other = np.empty_like(starts)
    for group in _groups_of_like_length(lengths):
        other[group] = rng.permutation(group)
    sentence = is_start.cumsum() - 1
    place = np.arange(len(is_start)) - starts[sentence]
    relative = place / np.maximum(lengths - 1, 1)[sentence]
    at = np.floor(relative * (lengths[other] - 1)[sentence] + 0.5 + ROUNDING).astype(np.int64)
    replaced_by: Int[ndarray, " words"] = starts[other][sentence] + at
    return replaced_by


def _groups_of_like_length(lengths: Int[ndarray, " sentences"]) -> list[Int[ndarray, " _group"]]:
    """Sentences by length: as few lengths per group as give it ``LEAST_ALIKE`` sentences."""
    by_length = np.argsort(lengths, kind="stable")
    groups: list[Int[ndarray, " _group"]] = [by_length[:0]]
    for equal in np.split(by_length, np.flatnonzero(np.diff(lengths[by_length])) + 1):
        if len(groups[-1]) < LEAST_ALIKE:
            groups[-1] = np.concatenate([groups[-1], equal])
        else:
            groups.append(equal)
    if len(groups) > 1 and len(groups[-1]) < LEAST_ALIKE:
        groups[-2:] = [np.concatenate(groups[-2:])]
    return groups


def _sentence_starts(sentence_of_word: Int[ndarray, " words"], at_least: int) -> Bool[ndarray, " words"]:
    """Mask of the first words of sentences.

    Returns:
        Whether each word starts a sentence.

    Raises:
        ValueError: If sentence numbers descend or there are too few sentences.
    """
    if (sentence_of_word[1:] < sentence_of_word[:-1]).any():
        at = int((sentence_of_word[1:] < sentence_of_word[:-1]).argmax())
        raise ValueError(
            f"sentence numbers must not descend, got {sentence_of_word[at]} and then {sentence_of_word[at + 1]}"
        )
    is_start = np.ones(len(sentence_of_word), dtype=bool)
    is_start[1:] = sentence_of_word[1:] != sentence_of_word[:-1]
    if (n_sentences := int(is_start.sum())) < at_least:
        raise ValueError(f"resampling needs at least {at_least} sentences, got {n_sentences}")
    return is_start


def _words_of(sentences: Int[ndarray, " drawn"], is_start: Bool[ndarray, " words"]) -> Int[ndarray, " _positions"]:
    """Positions of the words of some sentences, in the order of the sentences."""
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=len(is_start))[sentences]
    done = lengths.cumsum() - lengths
    return np.repeat(starts[sentences] - done, lengths) + np.arange(lengths.sum())


def _streams(n: int, seed: int) -> list[np.random.Generator]:
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(n)]
