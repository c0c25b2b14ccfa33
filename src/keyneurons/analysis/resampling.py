"""Resampling of words by sentence, since words of one sentence are not independent."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray


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
    tags: Int[ndarray, " words"], sentence_of_word: Int[ndarray, " words"], within: bool, rng: np.random.Generator
) -> Int[ndarray, " words"]:
    """Permute the tags of the words: a null distribution that preserves the count of each tag.

    ``within`` shuffles the tags among the words of each sentence. This preserves the tags of every
    sentence, and thus sentence-level information in neurons, but not their order. Otherwise the tag
    sequences of the sentences are concatenated in random order and assigned to the words. This
    preserves the order within sequences, and thus the dependence of neighbours, but not the
    alignment with sentences.

    Returns:
        The tags of the words.

    Raises:
        ValueError: If the numbers of tags and words differ, sentence numbers descend, or there are
            too few sentences.
    """
    if len(tags) != len(sentence_of_word):
        raise ValueError(f"every word needs a tag, got {len(tags)} tags and {len(sentence_of_word)} words")
    is_start = _sentence_starts(sentence_of_word, at_least=1 if within else 2)
    if within:
        order = np.lexsort((rng.random(len(tags)), sentence_of_word))
    else:
        order = _words_of(rng.permutation(int(is_start.sum())), is_start)
    permuted: Int[ndarray, " words"] = tags[order]
    return permuted


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
