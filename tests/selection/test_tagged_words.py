"""Several taggings in one pass give the moments of each alone."""

from __future__ import annotations

import numpy as np
import torch

from keyneurons.selection.moments import Moments, moments_of
from keyneurons.selection.tagged_words import FamilySums, TaggedWords, families
from keyneurons.selection.views import OF_ACTIVATIONS, View

N = 900
RNG = np.random.default_rng(0)
VALUES = torch.from_numpy(RNG.standard_normal((N, 6)) * 3 + [0, 5, 50, -1, 0, 0]).half()
VALUES[:, 5] = 2.5
ROWS = np.flatnonzero(RNG.random(N) < 0.8)
TAGS = RNG.integers(0, 4, len(ROWS))
SENTENCES = np.arange(N) // 11
HALF = RNG.random(len(ROWS)) < 0.5
WHOLE, OTHER = TaggedWords(ROWS, TAGS, 4), TaggedWords(ROWS, TAGS[::-1].copy(), 4)
HALVES = [TaggedWords(ROWS[own], TAGS[own], 4, whole=False) for own in (HALF, ~HALF)]
FEWER = TaggedWords(ROWS[100:], TAGS[100:], 4)


def gathered(words: list[TaggedWords]) -> dict[tuple[View, str], Moments]:
    found = {}
    for family in families(words, N):
        sums, groups = FamilySums(family, OF_ACTIVATIONS), family.taggings()
        for batch in np.split(np.arange(N), [7, 300, 301]):
            own = batch[family.place[batch] >= 0]
            sums.add(VALUES[own], groups[:, family.place[own]], torch.from_numpy(SENTENCES[own]))
        found |= {(view, digest): moments for view, digest, moments in sums.moments()}
    return found


def test_moments_are_those_of_each_tagging_alone():
    words = [HALVES[0], WHOLE, HALVES[1], OTHER, FEWER]
    found = gathered(words)
    assert len(found) == len(words) * len(OF_ACTIVATIONS)
    for view in OF_ACTIVATIONS:
        for each in words:
            own, sentences = found[view, each.digest], torch.from_numpy(SENTENCES[each.rows])
            alone = moments_of(VALUES[each.rows], torch.from_numpy(each.tags), 4, view, sentences)
            assert torch.equal(own.counts, alone.counts)
            assert torch.equal(own.constant, alone.constant)
            torch.testing.assert_close(own.means(), alone.means(), rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(own.total_squares(), alone.total_squares(), rtol=1e-5, atol=1e-5)
            assert (own.low is None) == (own.sentence_squares is None) == (not each.whole)
            if each.whole:
                torch.testing.assert_close(own.pivot + own.high, alone.pivot + alone.high)
                torch.testing.assert_close(own.sentence_squares, alone.sentence_squares, rtol=1e-4, atol=1e-4)


def test_halves_share_a_row_of_groups():
    [family] = families([WHOLE, *HALVES, OTHER], N)
    assert family.sizes == [4, 4, 8]
    assert len(families([WHOLE, FEWER], N)) == 2
    assert len(families([*HALVES], N)) == 2
    assert families([WHOLE, WHOLE], N)[0].sizes == [4]


def test_a_digest_depends_on_words_tags_and_kind():
    others = [OTHER, HALVES[0], FEWER, TaggedWords(ROWS, TAGS, 5), TaggedWords(ROWS, TAGS, 4, whole=False)]
    assert len({words.digest for words in [WHOLE, *others]}) == 6
    assert TaggedWords(ROWS.copy(), TAGS.astype(np.int32), 4).digest == WHOLE.digest
