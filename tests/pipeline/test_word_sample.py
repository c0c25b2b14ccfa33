"""A sample of the train words keeps the proportions of the tags, and every tag."""

from __future__ import annotations

import numpy as np
import pytest

from keyneurons.pipeline.word_sample import proportional_sample

TAGS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [6000, 3000, 997, 3]))


@pytest.mark.parametrize("n", [10, 100, 1001, 9999])
def test_every_tag_has_its_share(n):
    position = proportional_sample(TAGS, n, seed=0)
    counts = np.bincount(TAGS[position], minlength=4)
    assert (np.diff(position) > 0).all()
    assert n <= len(position) <= n + 3
    np.testing.assert_allclose(counts[:3], n * np.bincount(TAGS)[:3] / len(TAGS), atol=1.01)
    assert counts[3] >= 2


def test_the_sample_depends_on_the_seed_and_is_uniform_within_a_tag():
    one, again, other = (proportional_sample(TAGS, 50, seed) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    drawn = np.concatenate([proportional_sample(TAGS, 100, seed) for seed in range(400)])
    of_first = drawn[TAGS[drawn] == 0]
    thirds = np.histogram(of_first, bins=3, range=(0, len(TAGS)))[0] / len(of_first)
    np.testing.assert_allclose(thirds, np.histogram(np.flatnonzero(TAGS == 0), bins=3)[0] / 6000, atol=0.015)


def test_a_large_sample_has_all_words():
    assert np.array_equal(proportional_sample(TAGS, 10**6, 0), np.arange(len(TAGS)))
