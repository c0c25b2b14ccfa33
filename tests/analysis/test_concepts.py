"""CAVs and CARs against scikit-learn's kernels, planted directions, balls and chance."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from keyneurons.analysis.concepts import Concepts, balanced_rows, concepts

Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def words_along(vectors: np.ndarray, n: int = 300, seed: int = 0) -> Data:
    """Train and test words with one tag per vector, each tag shifted by its vector, with noise."""
    rng = np.random.default_rng(seed)
    tags = [rng.permutation(np.arange(n) % len(vectors)) for _ in range(2)]
    train, test = (rng.standard_normal((n, vectors.shape[1])) + vectors[t] for t in tags)
    return train, tags[0], test, tags[1]


def planted(size: float, features: int = 8, n_tags: int = 3, n: int = 300, seed: int = 0) -> Data:
    return words_along(size * np.random.default_rng(99).standard_normal((n_tags, features)), n, seed)


def ball(n: int = 400, features: int = 3, seed: int = 0) -> Data:
    """Words of tag 0 near the origin, words of tag 1 around them."""
    rng = np.random.default_rng(seed)

    def sample() -> tuple[np.ndarray, np.ndarray]:
        tags = np.arange(n) % 2
        x = rng.standard_normal((n, features))
        radius = rng.uniform(0, 1, n) + np.array([0, 1.5])[tags]
        return x / np.linalg.norm(x, axis=1)[:, None] * radius[:, None], tags

    return *sample(), *sample()


def measure(
    data: Data, names: Sequence[str] = ("ADJ", "NOUN", "VERB"), words: int = 60, draws: int = 19, seed: int = 0
) -> Concepts:
    return concepts(*data, names, words=words, draws=draws, seed=seed)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_equals_scikit_learn_on_the_same_words(dtype):
    train, train_tags, test, test_tags = planted(0.4)
    train, test = ((x * 7 + 20).astype(dtype) for x in (train, test))
    names = ("ADJ", "NOUN", "VERB")
    result = measure((train, train_tags, test, test_tags), names, words=50, draws=1, seed=3)
    scaler = StandardScaler().fit(train.astype(np.float64))
    train, test = (scaler.transform(x.astype(np.float64)) for x in (train, test))
    directions = []
    for tag, name in enumerate(names):
        rows = balanced_rows(train_tags == tag, 50, name, "train", 3)
        held_out = balanced_rows(test_tags == tag, 50, name, "held-out", 3)
        assert (train_tags[rows] == tag).tolist() == (test_tags[held_out] == tag).tolist() == [True] * 50 + [False] * 50
        assert len({*rows}) == len({*held_out}) == 100
        sample, is_tag = (train[rows], train_tags[rows] == tag), test_tags[held_out] == tag
        # x . y / dim with C=1 is x . y with C=1/dim
        linear, rbf = SVC(kernel="linear", C=1 / 8).fit(*sample), SVC(kernel="rbf", gamma=1 / 8).fit(*sample)
        assert result.direction[name].accuracy == linear.score(test[held_out], is_tag)
        assert result.region[name].accuracy == rbf.score(test[held_out], is_tag)
        assert 0.6 < linear.score(test[held_out], is_tag) < 1
        directions.append(linear.coef_[0] / np.linalg.norm(linear.coef_))
    np.testing.assert_allclose(result.cosine, np.array(directions) @ np.array(directions).T, atol=5e-3)
    assert np.ptp(result.cosine) > 1


@pytest.mark.slow
def test_cavs_recover_planted_directions():
    """Four tags on their own axes: CAVs point from the others' mean to their own, cosines -1/3."""
    result = measure(words_along(3 * np.eye(4, 10), n=3000), names="ABCD", words=500)
    for name in result.tags:
        assert result.direction[name].accuracy > 0.93
        assert result.direction[name].p_value == 1 / 20
        assert result.direction[name].null_mean == pytest.approx(0.5, abs=0.15)
    np.testing.assert_allclose(result.cosine, np.eye(4) * 4 / 3 - 1 / 3, atol=0.2)
    assert result.cosine.diagonal().tolist() == [1.0, 1.0, 1.0, 1.0]


def test_opposite_directions_have_cosine_minus_one():
    """Control: two tags with the same vector share their direction, apart from other tags."""
    vector = 2 * np.eye(8)[0]
    opposite = measure(words_along(np.array([vector, -vector, 0 * vector]), n=900), words=300)
    assert opposite.cosine[0, 1] == opposite.cosine[1, 0] < -0.95
    alike = [vector, vector, 0 * vector, 0 * vector, 0 * vector]
    assert measure(words_along(np.array(alike), n=900), names="ABCDE", words=300).cosine[0, 1] > 0.3


def test_a_ball_is_a_region_but_not_a_direction():
    result = measure(ball(), names=("IN", "AROUND"), words=200)
    for name in result.tags:
        assert result.region[name].accuracy > 0.95
        assert result.region[name].p_value == 1 / 20
        assert (
            result.direction[name].accuracy < 0.75
        )  # a plane with the ball on one side has part of the rest on that side too


@pytest.mark.parametrize("features", [20, 200])
def test_a_pure_direction_is_not_a_region(features):
    size = 1.2 / np.sqrt(features)
    of_kind = [measure(planted(size, features, n=1200, seed=seed), words=200, draws=1) for seed in range(3)]
    direction, region = (
        np.mean([[t.accuracy for t in kind.values()] for kind in kinds])
        for kinds in ([r.direction for r in of_kind], [r.region for r in of_kind])
    )
    assert 0.6 < direction < 0.9
    assert region - direction < 0.02


@pytest.mark.slow
def test_unrelated_tags_give_chance_accuracy():
    none = [measure(planted(0.0, n=200, seed=seed), words=30) for seed in range(40)]
    some = [measure(planted(1.5, n=200, seed=seed), words=30, draws=19) for seed in range(2)]
    for kind in ("direction", "region"):
        tests = [test for result in none for test in getattr(result, kind).values()]
        assert np.mean([test.accuracy for test in tests]) == pytest.approx(0.5, abs=0.04)
        assert np.mean([test.null_mean for test in tests]) == pytest.approx(0.5, abs=0.02)
        assert np.mean([test.p_value <= 0.05 for test in tests]) < 0.15
        assert np.mean([test.p_value for test in tests]) == pytest.approx(0.5, abs=0.12)
        assert {test.p_value for result in some for test in getattr(result, kind).values()} == {1 / 20}


def test_rows_are_drawn_at_random_by_name_and_split_and_seed():
    is_tag = np.arange(1000) % 4 == 0
    drawn = [
        balanced_rows(is_tag, 100, name, split, seed)
        for name, split, seed in [("A", "train", 0), ("B", "train", 0), ("A", "held-out", 0), ("A", "train", 1)]
    ]
    assert len({tuple(rows.tolist()) for rows in drawn}) == 4
    for rows in drawn:
        assert rows[:100].mean() == pytest.approx(500, abs=100)  # standard error 22 and 28
        assert rows[100:].mean() == pytest.approx(500, abs=120)


def test_the_smaller_side_limits_the_sample():
    train, _, test, _ = planted(1.0, n_tags=2)
    train_tags = np.repeat([0, 1, 2], [7, 200, 93])
    test_tags = np.repeat([0, 1, 2], [1, 290, 9])
    result = measure((train, train_tags, test, test_tags), words=80)
    assert result.words == {"ADJ": (7, 1), "NOUN": (80, 10), "VERB": (80, 9)}


def test_order_and_names_of_the_other_tags_do_not_matter():
    train, train_tags, test, test_tags = data = planted(0.4)
    result = measure(data)
    turned = measure((train, 2 - train_tags, test, 2 - test_tags), names=("VERB", "NOUN", "ADJ"))
    assert turned.tags == ("VERB", "NOUN", "ADJ")
    assert (turned.direction, turned.region, turned.words) == (result.direction, result.region, result.words)
    np.testing.assert_allclose(turned.cosine, result.cosine[::-1, ::-1], atol=1e-12)
    renamed = measure(data, names=("ADJ", "N", "V"))
    assert renamed.direction["ADJ"] == result.direction["ADJ"]
    assert renamed.region["ADJ"] == result.region["ADJ"]


def test_scale_shift_and_constant_features_do_not_matter():
    train, train_tags, test, test_tags = data = planted(0.4)
    result = measure(data)
    scale = np.array([1e-4, 1, 1e4, 3, 7, 1, 1, 0.1])
    train, test = (np.insert(x * scale - 5, [0, 3], [0.1, 7.0], axis=1) for x in (train, test))
    test[:, 0] = 100.0  # constant in train, so it is ignored
    other = measure((train, train_tags, test, test_tags))
    assert other.direction == result.direction
    assert other.region == result.region
    np.testing.assert_allclose(other.cosine, result.cosine, atol=1e-6)


def test_reproducible_without_side_effects_or_warnings():
    data = planted(0.4)
    before = [x.copy() for x in data]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, again, other = (measure(data, seed=seed) for seed in (0, 0, 1))
    assert (first.direction, first.region) == (again.direction, again.region)
    assert np.array_equal(first.cosine, again.cosine)
    assert first.direction != other.direction
    assert all(np.array_equal(x, y) for x, y in zip(data, before, strict=True))


def test_words_and_draws_out_of_range():
    with pytest.raises(ValueError, match="words must be at least 2, got 1"):
        measure(planted(1.0), words=1)
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        measure(planted(1.0), draws=0)


def test_invalid_tags_are_rejected():
    train, train_tags, test, test_tags = data = planted(1.0)
    with pytest.raises(ValueError, match=r"names must be distinct, got \['X', 'Y', 'X'\]"):
        measure(data, names=("X", "Y", "X"))
    with pytest.raises(ValueError, match=r"train tags must lie in 0\.\.1, got 0\.\.2"):
        measure(data, names=("X", "Y"))
    with pytest.raises(ValueError, match=r"held-out tags must lie in 0\.\.2, got -1\.\.1"):
        measure((train, train_tags, test, test_tags - 1))
    one = np.where(np.arange(300) == 5, 1, 0)
    with pytest.raises(
        ValueError, match="tag NOUN needs at least 2 train words with it and as many without, got 1 and 299"
    ):
        measure((train, np.where(one, 1, 2 * (np.arange(300) % 2)), test, test_tags))
    with pytest.raises(
        ValueError, match="tag ADJ needs at least 2 train words with it and as many without, got 299 and 1"
    ):
        measure((train, one, test, test_tags % 2), names=("ADJ", "NOUN"))
    with pytest.raises(
        ValueError, match="tag VERB needs at least 1 held-out words with it and as many without, got 0 and"
    ):
        measure((train, train_tags, test, test_tags % 2))


def test_indistinguishable_activations_are_rejected():
    train, train_tags, test, test_tags = planted(1.0)
    with pytest.raises(ValueError, match="needs a feature that varies in train, got 8 constant ones"):
        measure((np.full_like(train, 0.1), train_tags, test, test_tags))
    with pytest.raises(ValueError, match="train activations must be finite, got 1 that are not"):
        measure((np.where(np.arange(2400).reshape(300, 8) == 7, np.nan, train), train_tags, test, test_tags))
    with pytest.raises(ValueError, match="held-out activations must be finite, got 2400 that are not"):
        measure((train, train_tags, np.full_like(test, np.inf), test_tags))
    with pytest.raises(ValueError, match="needs train words, got 0"):
        measure((train[:0], train_tags[:0], test, test_tags))
    alike = np.full_like(train, 0.1)
    alike[np.flatnonzero(train_tags == 1)[0]] = 1  # the only word that differs is in no sample
    actual = measure((alike, train_tags, test, test_tags), words=2)
    assert np.isnan(actual.cosine[0, 1:]).all()  # no direction, so no cosine
