"""Overlap against hand counts, scipy and random draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import hypergeom

from keyneurons.analysis.overlap import chance_of_at_least, mean_off_diagonal, overlap, shared_count_pmf
from keyneurons.records import KeyNeuron, NeuronSets


def sets_of(width: int, layers: tuple[int, ...], **tags: list[tuple[int, int]]) -> NeuronSets:
    key_neurons = {
        tag: tuple(KeyNeuron(layer, neuron, 1.0) for layer, neuron in places) for tag, places in tags.items()
    }
    return NeuronSets("mlp", layers, width, key_neurons)


def test_numbers_of_methods_md():
    """|A|=6, |B|=4, both 2, in 20 neurons."""
    a, b = [(0, n) for n in range(6)], [(0, n) for n in (4, 5, 6, 7)]
    result = overlap(sets_of(20, (0,), VERB=b, NOUN=a))
    assert result.tags == ("NOUN", "VERB")
    assert result.count.tolist() == [[6, 2], [2, 4]]
    assert result.coefficient.tolist() == [[1, 0.5], [0.5, 1]]
    assert result.jaccard.tolist() == [[1, 0.25], [0.25, 1]]
    assert result.expected[0, 1] == pytest.approx(1.2)
    assert result.p_value[0, 1] == result.p_value[1, 0] == pytest.approx(0.343, abs=5e-4)


@pytest.mark.parametrize(("neurons", "expected"), [(768, 13.02), (14_336, 0.698), (458_752, 0.0218)])
def test_expected_by_chance(neurons, expected):
    a, b = [(0, n) for n in range(100)], [(0, n) for n in range(50, 150)]
    assert overlap(sets_of(neurons, (0,), A=a, B=b)).expected[0, 1] == pytest.approx(expected, rel=2e-3)


def test_critical_value_of_methods_md():
    """k=100 of 768: 18 shared neurons stay above 5 %, 19 do not."""
    k = np.array([[100], [100]])
    assert chance_of_at_least(18, k, 768) > 0.05 > chance_of_at_least(19, k, 768)


def test_one_layer_is_hypergeometric_in_the_far_tail():
    for count in (0, 1, 5, 20, 50):
        ours = chance_of_at_least(count, np.array([[50], [60]]), 1536)
        assert ours == pytest.approx(hypergeom.sf(count - 1, 1536, 50, 60), rel=1e-8)


@pytest.mark.parametrize("n_sets", [2, 3, 4])
def test_layers_equal_random_draws(n_sets):
    sizes, width = np.array([[3, 0, 5], [4, 6, 2], [9, 1, 12], [8, 5, 11]])[:n_sets], 12
    rng = np.random.default_rng(0)
    shared = np.zeros(20_000, dtype=int)
    for of_layer in sizes.T:
        drawn = [rng.permuted(np.tile(np.arange(width) < size, (20_000, 1)), axis=1) for size in of_layer]
        shared += np.all(drawn, axis=0).sum(axis=1)
    for count in range(1, 5):
        share = (shared >= count).mean()
        assert chance_of_at_least(count, sizes, width) == pytest.approx(share, abs=0.015)
    pmf = shared_count_pmf(sizes, width)
    assert pmf @ np.arange(len(pmf)) == pytest.approx((width * np.prod(sizes / width, axis=0)).sum(), rel=1e-12)


def test_concentration_on_a_layer_is_not_overlap():
    """Both tags are in layer 1 only and share what is expected there, but not over two layers."""
    a, b = [(1, n) for n in range(10)], [(1, n) for n in range(5, 15)]
    result = overlap(sets_of(20, (0, 1), A=a, B=b))
    assert result.expected[0, 1] == 5
    assert result.p_value[0, 1] > 0.5
    assert hypergeom.sf(4, 40, 10, 10) < 0.1


def test_same_index_in_another_layer_is_another_neuron():
    result = overlap(sets_of(10, (2, 7), A=[(2, 3)], B=[(7, 3)]))
    assert result.count[0, 1] == 0
    assert result.p_value[0, 1] == 1
    assert result.expected[0, 1] == 0


def test_empty_sets():
    """An empty set shares nothing; ratios with its size are nan, and other sets are unaffected."""
    full = {"A": [(0, 1), (0, 2)], "C": [(0, 2), (1, 3)]}
    result, without = overlap(sets_of(10, (0, 1), **full, B=[], D=[])), overlap(sets_of(10, (0, 1), **full))
    nan = pytest.approx(np.nan, nan_ok=True)
    assert result.tags == ("A", "B", "C", "D")
    for empty in (1, 3):
        assert result.count[empty].tolist() == [0, 0, 0, 0]
        assert result.coefficient[empty].tolist() == [nan] * 4
        assert result.jaccard[empty].tolist() == [0, nan, 0, nan]
        assert result.expected[empty].tolist() == [0, 0, 0, 0]
        assert result.p_value[empty].tolist() == [1, 1, 1, 1]
    for name in ("count", "coefficient", "jaccard", "expected", "p_value"):
        matrix = getattr(result, name)
        np.testing.assert_array_equal(matrix, matrix.T)
        np.testing.assert_array_equal(matrix[::2, ::2], getattr(without, name))
    assert mean_off_diagonal(result.coefficient) == 0.5


def test_zero_tags_are_rejected():
    with pytest.raises(ValueError, match="at least 1 tag, got 0"):
        overlap(sets_of(10, (0,)))


def test_shared_count_pmf_is_a_distribution_with_the_known_mean():
    first, second = np.array([3, 0, 5, 7]), np.array([4, 6, 2, 12])
    pmf = shared_count_pmf(np.stack([first, second]), 12)
    assert len(pmf) == 3 + 0 + 2 + 7 + 1
    assert pmf.sum() == pytest.approx(1, rel=1e-12)
    assert pmf @ np.arange(len(pmf)) == pytest.approx((first * second).sum() / 12, rel=1e-12)
    assert pmf[:7].max() < 1e-15 < pmf[7]  # the first set has all of the last layer, so its 7 neurons are always shared
    np.testing.assert_array_equal(pmf, shared_count_pmf(np.stack([second, first]), 12))
    assert shared_count_pmf(np.stack([first, second * 0]), 12).tolist() == [1]


@pytest.mark.parametrize("wrong", [13, -1])
def test_sets_larger_than_the_layer_are_rejected(wrong):
    with pytest.raises(ValueError, match=rf"must lie in 0\.\.12, got \[\[2\], \[{wrong}\]\]"):
        shared_count_pmf(np.array([[2], [wrong]]), 12)
    with pytest.raises(ValueError, match="at least 2 sets, got 1"):
        shared_count_pmf(np.array([[2]]), 12)


def test_mean_off_diagonal():
    assert mean_off_diagonal(np.array([[9.0, 1.0, 2.0], [1.0, 9.0, 3.0], [2.0, 3.0, 9.0]])) == 2
    with pytest.raises(ValueError, match="at least 2 tags, got 1"):
        mean_off_diagonal(np.ones((1, 1)))
    with pytest.raises(ValueError, match="not nan, got only nan for 2 tags"):
        mean_off_diagonal(np.array([[1, np.nan], [np.nan, 1]]))


def test_mean_off_diagonal_ignores_nan():
    matrix = np.array([[np.nan, 1.0, np.nan], [1.0, 9.0, 3.0], [np.nan, 3.0, np.nan]])
    assert mean_off_diagonal(matrix) == 2
