"""The same words drawn again, by sentence: words of one sentence are never independent."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray


def split_halves(
    sentence_of_word: Int[ndarray, " words"], n: int, seed: int
) -> list[tuple[Int[ndarray, " _first"], Int[ndarray, " _second"]]]:
    """Halve the sentences at random, ``n`` times.

    Sentences are drawn alike whatever their length, so the halves differ in words. The i-th halving depends on the
    seed and i alone.

    Returns:
        The word positions of both halves, ascending; of an odd number of sentences the first half has one more.

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

    Sentences are drawn alike whatever their length, so the number of words varies. The i-th resample depends on the
    seed and i alone.

    Returns:
        The word positions of each resample in sentence order; a sentence drawn twice stands there twice, copy by copy.

    Raises:
        ValueError: If there are fewer than 2 sentences, their numbers descend, or ``n`` is below 1.
    """
    is_start = _sentence_starts(sentence_of_word, at_least=2)
    n_sentences = int(is_start.sum())
    return [_words_of(np.sort(rng.integers(n_sentences, size=n_sentences)), is_start) for rng in _streams(n, seed)]


def permuted_tags(
    tags: Int[ndarray, " words"], sentence_of_word: Int[ndarray, " words"], within: bool, rng: np.random.Generator
) -> Int[ndarray, " words"]:
    """Give the words each other's tags at random: a null that keeps the number of words of each tag.

    ``within`` shuffles the tags among the words of each sentence: it keeps the tags of every sentence and so whatever
    neurons know of a sentence as a whole; it breaks their order. Otherwise the sentences' tag sequences are put in
    random order one after another and laid over the words: it keeps the order within a sequence, so the dependence of
    neighbours; it breaks the bond to the sentence, whose bounds a sequence need not meet.

    Returns:
        The tags of the words.

    Raises:
        ValueError: If there is not one tag a word, sentence numbers descend, or there are no sentences to permute.
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
    """Find the sentences.

    Returns:
        Which words open one.

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
    """Positions of the words of some sentences, one sentence after another."""
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=len(is_start))[sentences]
    done = lengths.cumsum() - lengths
    return np.repeat(starts[sentences] - done, lengths) + np.arange(lengths.sum())


def _streams(n: int, seed: int) -> list[np.random.Generator]:
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(n)]
