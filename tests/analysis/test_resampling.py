"""Resampling against direct loops over sentences."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest

from keyneurons.analysis.resampling import bootstraps, permuted_tags, split_halves

SENTENCES = np.repeat([3, 4, 9, 10, 50], [4, 1, 3, 2, 5])  # arbitrary sentence numbers, 15 words
MANY = np.repeat(np.arange(60), np.random.default_rng(0).integers(1, 9, size=60))


def words_by_sentence(sentence_of_word: np.ndarray) -> list[list[int]]:
    return [[*words] for _, words in groupby(range(len(sentence_of_word)), key=lambda word: sentence_of_word[word])]


def test_halves_partition_the_sentences():
    for first, second in split_halves(SENTENCES, 40, seed=0):
        assert sorted([*first, *second]) == list(range(15))
        assert (np.diff(first) > 0).all()
        assert (np.diff(second) > 0).all()
        in_first, in_second = {*SENTENCES[first]}, {*SENTENCES[second]}
        assert not in_first & in_second
        assert (len(in_first), len(in_second)) == (3, 2)
    assert [len({*MANY[half]}) for half in split_halves(MANY, 1, seed=0)[0]] == [30, 30]


def test_every_sentence_is_equally_often_in_the_first_half():
    draws = split_halves(SENTENCES, 4000, seed=1)
    share = np.array([np.isin(range(15), first) for first, _ in draws]).mean(axis=0)
    np.testing.assert_allclose(share, 3 / 5, atol=0.03)


def test_bootstraps_repeat_whole_sentences_copy_by_copy():
    repeated = False
    by_sentence = words_by_sentence(SENTENCES)
    for words in bootstraps(SENTENCES, 40, seed=0):
        rest, drawn = words.tolist(), []
        while rest:
            sentence = next(sentence for sentence in by_sentence if sentence[0] == rest[0])
            assert rest[: len(sentence)] == sentence
            drawn.append(sentence[0])
            rest = rest[len(sentence) :]
        assert len(drawn) == 5
        assert drawn == sorted(drawn)
        repeated |= len({*drawn}) < 5
    assert repeated


def test_bootstraps_draw_every_sentence_equally_often():
    draws = bootstraps(SENTENCES, 4000, seed=1)
    copies = np.array([np.bincount(words, minlength=15) for words in draws])
    np.testing.assert_allclose(copies.mean(axis=0), 1, atol=0.05)
    np.testing.assert_allclose((copies == 0).mean(axis=0), 0.8**5, atol=0.03)


def test_bootstrap_variance_accounts_for_dependent_words():
    """Words of a sentence are equal, so the mean varies as that of 60 sentences."""
    rng = np.random.default_rng(0)
    sentences = np.repeat(np.arange(60), 10)
    values = rng.normal(size=60)[sentences]
    spread = np.std([values[words].mean() for words in bootstraps(sentences, 1000, seed=0)])
    assert spread == pytest.approx(values.std() / np.sqrt(60), rel=0.1)
    assert spread > 2.5 * values.std() / np.sqrt(600)


@pytest.mark.parametrize("draw", [split_halves, bootstraps])
class TestStreams:
    @staticmethod
    def flat(draws: list) -> list:
        return [
            [np.asarray(part).tolist() for part in (draw if isinstance(draw, tuple) else (draw,))] for draw in draws
        ]

    def test_a_draw_depends_only_on_seed_and_number(self, draw):
        three, ten = self.flat(draw(MANY, 3, 7)), self.flat(draw(MANY, 10, 7))
        assert ten[:3] == three
        assert ten == self.flat(draw(MANY * 2 + 5, 10, 7))

    def test_draws_and_seeds_differ(self, draw):
        both = self.flat(draw(MANY, 10, 7)) + self.flat(draw(MANY, 10, 8))
        assert all(one != other for i, one in enumerate(both) for other in both[:i])

    def test_one_sentence_is_rejected(self, draw):
        with pytest.raises(ValueError, match="at least 2 sentences, got 1"):
            draw(np.array([4, 4, 4]), 2, 0)
        with pytest.raises(ValueError, match="at least 2 sentences, got 0"):
            draw(np.array([], dtype=np.int64), 2, 0)

    def test_descending_sentences_are_rejected(self, draw):
        with pytest.raises(ValueError, match="must not descend, got 5 and then 2"):
            draw(np.array([1, 5, 2, 2]), 2, 0)

    def test_zero_draws_are_rejected(self, draw):
        with pytest.raises(ValueError, match="n must be at least 1, got 0"):
            draw(MANY, 0, 0)

    def test_input_is_unchanged(self, draw):
        before = MANY.copy()
        draw(MANY, 2, 0)
        assert (before == MANY).all()


def test_within_keeps_the_tags_of_every_sentence():
    tags = np.random.default_rng(1).integers(6, size=len(MANY))
    permuted = permuted_tags(tags, MANY, "within_sentence", np.random.default_rng(0))
    assert (permuted != tags).any()
    for words in words_by_sentence(MANY):
        assert sorted(permuted[words]) == sorted(tags[words])


def test_within_is_uniform():
    tags = np.array([7, 0, 1, 2, 3, 9])
    sentences = np.array([1, 2, 2, 2, 2, 3])
    rng = np.random.default_rng(0)
    drawn = np.array([permuted_tags(tags, sentences, "within_sentence", rng) for _ in range(4000)])
    for word in range(1, 5):
        np.testing.assert_allclose(np.bincount(drawn[:, word], minlength=4) / 4000, 0.25, atol=0.03)
    assert len({tuple(row) for row in drawn}) == 24


def test_words_are_shuffled_over_all_sentences():
    tags, rng = np.arange(15), np.random.default_rng(0)
    drawn = np.array([permuted_tags(tags, SENTENCES, "words", rng) for _ in range(3000)])
    assert (np.sort(drawn, axis=1) == tags).all()
    np.testing.assert_allclose(np.bincount(drawn[:, 4], minlength=15) / 3000, 1 / 15, atol=0.02)


def test_equal_lengths_exchange_whole_sentences():
    """Twelve sentences of 3 words and ten of 5; tags encode sentence and position."""
    sentences = np.repeat(np.arange(22), np.random.default_rng(1).permutation(np.repeat([3, 5], [12, 10])))
    lengths, tags, rng = np.bincount(sentences), np.arange(len(sentences)), np.random.default_rng(0)
    sources = []
    for _ in range(3000):
        permuted = permuted_tags(tags, sentences, "like_length", rng)
        source = np.array([sentences[permuted[words[0]]] for words in words_by_sentence(sentences)])
        for words, other in zip(words_by_sentence(sentences), source, strict=True):
            assert permuted[words].tolist() == np.flatnonzero(sentences == other).tolist()
        assert sorted(source) == list(range(22))
        sources.append(source)
    for sentence in (0, 7):
        share = np.bincount(np.array(sources)[:, sentence], minlength=22) / 3000
        np.testing.assert_allclose(
            share, (lengths == lengths[sentence]) / (lengths == lengths[sentence]).sum(), atol=0.03
        )


def test_unequal_lengths_are_aligned_at_both_ends():
    """Ten sentences of 5 words and one of 8: middle words of the longer one have no partner."""
    sentences = np.repeat(np.arange(11), [5] * 4 + [8] + [5] * 6)
    by_sentence, rng = words_by_sentence(sentences), np.random.default_rng(0)
    exchanged = 0
    for _ in range(100):
        permuted = permuted_tags(np.arange(58), sentences, "like_length", rng)
        assert sorted(permuted) == list(range(58))
        longer = permuted[by_sentence[4]].tolist()
        assert longer[3:6] == by_sentence[4][3:6]
        source = by_sentence[sentences[longer[0]]]
        if source != by_sentence[4]:
            exchanged += 1
            assert longer[:3] + longer[6:] == source
            goes_to = by_sentence[sentences[permuted.tolist().index(by_sentence[4][0])]]
            assert permuted[goes_to].tolist() == by_sentence[4][:3] + by_sentence[4][6:]
    assert exchanged > 80


def test_lengths_of_exchanged_sentences_are_alike():
    """Lengths of 10 and more sentences stay apart; rare lengths join the next ones."""
    lengths = np.repeat([2, 3, 4, 6, 9, 30], [15, 4, 5, 3, 10, 2])
    sentences = np.repeat(np.arange(39), lengths)
    length, group = lengths[sentences], {2: 0, 3: 1, 4: 1, 6: 1, 9: 2, 30: 2}
    drawn = {
        tuple(pair)
        for i in range(300)
        for pair in zip(length, permuted_tags(length, sentences, "like_length", np.random.default_rng(i)), strict=True)
    }
    assert drawn == {(one, other) for one in group for other in group if group[one] == group[other]}


def test_like_length_keeps_what_depends_on_position_and_length_and_others_do_not():
    rng = np.random.default_rng(0)
    sentences = np.repeat(np.arange(300), rng.choice([4, 6, 8], 300))
    is_start = np.r_[True, np.diff(sentences) > 0]
    tags = np.where(is_start, np.bincount(sentences)[sentences], 0)  # the length, on the first word
    for unit, kept in (("like_length", True), ("within_sentence", False), ("words", False)):
        assert (permuted_tags(tags, sentences, unit, rng) == tags).all() == kept


UNITS = ("words", "within_sentence", "like_length")


@pytest.mark.parametrize("unit", UNITS)
def test_permuted_tags_keep_counts_input_and_seed(unit):
    tags = np.random.default_rng(1).integers(6, size=len(MANY))
    before = tags.copy()
    one, again, other = (permuted_tags(tags, MANY, unit, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (np.bincount(one) == np.bincount(tags)).all()
    assert (one == again).all()
    assert (one != other).any()
    assert (tags == before).all()


def test_permuted_tags_reject_bad_input():
    rng, one = np.random.default_rng(0), np.array([2, 2, 2])
    for unit in ("words", "within_sentence"):
        assert sorted(permuted_tags(np.array([0, 1, 2]), one, unit, rng)) == [0, 1, 2]
    with pytest.raises(ValueError, match="at least 2 sentences, got 1"):
        permuted_tags(np.array([0, 1, 2]), one, "like_length", rng)
    for unit in UNITS:
        with pytest.raises(ValueError, match="must not descend, got 2 and then 1"):
            permuted_tags(np.array([0, 1]), np.array([2, 1]), unit, rng)
