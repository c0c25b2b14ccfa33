"""Clusters, dimensions and angles against scipy, scikit-learn, direct loops and planted copies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.cluster import AgglomerativeClustering

from keyneurons.analysis.redundancy import clusters, participation_ratio, principal_angles, redundancy
from keyneurons.records import KeyNeuron, NeuronSets


def noise(words: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((words, columns))


def families(words: int = 300, seed: int = 0) -> np.ndarray:
    """Columns 0, 3 and 5 are copies, one with opposite sign; so are 1 and 4; 2 is independent."""
    x = noise(words, 3, seed)[:, [0, 1, 2, 0, 1, 0]] * [1, 1, 1, -20, 1, 1] + [0, 5, 0, 1000, 0, 0]
    return x + 0.3 * noise(words, 6, seed + 1)


def test_planted_families_are_clustered_with_the_best_first():
    rank = np.array([5, 1, 3, 0, 4, 2])
    assert clusters(families(), rank) == [(3, 5, 0), (1, 4), (2,)]
    shuffled = np.random.default_rng(0).permutation(noise(300, 6), axis=1)
    assert clusters(shuffled, rank) == [(3,), (1,), (5,), (2,), (4,), (0,)]


def test_equal_ranks_go_to_the_lower_column():
    assert clusters(families(), np.zeros(6, dtype=int)) == [(0, 3, 5), (1, 4), (2,)]


@pytest.mark.parametrize("threshold", [0.3, 0.4, 0.6, 0.9])
def test_clusters_equal_scikit_learn(threshold):
    x = noise(200, 6) @ noise(6, 25, seed=1) + noise(200, 25, seed=2)
    oracle = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1 - threshold
    ).fit_predict(1 - np.abs(np.corrcoef(x, rowvar=False)))
    expected = {frozenset(np.flatnonzero(oracle == label).tolist()) for label in set(oracle)}
    assert {frozenset(cluster) for cluster in clusters(x, np.arange(25), threshold)} == expected
    assert 1 < len(expected) <= 25


def test_renaming_neurons_renames_clusters():
    x, order = families(), np.array([4, 2, 0, 5, 1, 3])
    renamed = clusters(x[:, order], order)
    assert [tuple(order[list(cluster)].tolist()) for cluster in renamed] == clusters(x, np.arange(6))


def test_constant_neurons_are_singletons():
    x = families()
    x[:, [0, 3]] = 0.1
    assert clusters(x, np.arange(6)) == [(0,), (1, 4), (2,), (3,), (5,)]
    assert {(0,), (3,)} <= set(clusters(x, np.arange(6), threshold=0.01))


def test_one_neuron_and_no_neurons():
    assert clusters(noise(9, 1), np.array([3])) == [(0,)]
    assert clusters(noise(9, 0), np.array([], dtype=int)) == []


def test_participation_ratio_equals_the_eigenvalue_formula():
    x = noise(100, 5) @ noise(5, 12, seed=1) + noise(100, 12, seed=2)
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(x, rowvar=False))
    assert participation_ratio(x) == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum(), rel=1e-10)
    assert participation_ratio(x * np.logspace(-3, 3, 12) + 7) == pytest.approx(participation_ratio(x), rel=1e-8)
    assert participation_ratio(np.column_stack([x, np.full(100, 0.1)])) == participation_ratio(x)


def test_participation_ratio_counts_independent_neurons():
    x = noise(20_000, 6)
    assert participation_ratio(x) == pytest.approx(6, abs=0.01)
    assert participation_ratio(x[:, [0] * 6]) == pytest.approx(1)
    assert participation_ratio(x[:, [0, 0, 0, 1, 1, 1]] * [1, -2, 3, 1, 2, 3]) == pytest.approx(2, abs=0.01)


def standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=0)) / x.std(axis=0)


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_angles_equal_scipy(shared):
    first, second = noise(80, 5) + 100, noise(80, 3, seed=1) * 1e3
    second[:, :shared] = first[:, :shared]
    angles = principal_angles(first, second)
    oracle = np.degrees(subspace_angles(standardised(first), standardised(second)))[::-1]
    np.testing.assert_allclose(angles, oracle, atol=1e-5)
    np.testing.assert_allclose(principal_angles(second, first), angles, atol=1e-5)
    assert (angles < 1e-5).sum() == shared
    assert (angles[shared:] > 30).all()


def test_angle_of_two_neurons_is_the_arccosine_of_their_correlation():
    first, second = noise(50, 1), noise(50, 1) - 0.5 * noise(50, 1, seed=1)
    r = np.corrcoef(first[:, 0], second[:, 0])[0, 1]
    assert principal_angles(first, second).tolist() == pytest.approx([np.degrees(np.arccos(r))], rel=1e-9)
    assert principal_angles(first, -second).tolist() == pytest.approx([np.degrees(np.arccos(r))], rel=1e-9)


def test_angles_depend_only_on_the_space():
    first, second = noise(60, 4), noise(60, 3, seed=1)
    mixed = np.column_stack([first @ noise(4, 4, seed=2), first, np.full(60, 0.1)])
    assert np.linalg.matrix_rank(mixed) == 5
    np.testing.assert_allclose(principal_angles(mixed, second), principal_angles(first, second), atol=1e-5)
    assert principal_angles(mixed, first) == pytest.approx(np.zeros(4), abs=1e-5)
    assert principal_angles(np.ones((60, 2)), first).shape == (0,)


@pytest.mark.parametrize("difference", [1e-2, 1e-4, 1e-6, 1e-9])
def test_near_copies_do_not_blur_shared_neurons(difference):
    first = noise(500, 20) + 50
    first = np.column_stack([first, first[:, 0] + difference * noise(500, 1, seed=1)[:, 0]])
    angles = principal_angles(first, np.column_stack([noise(500, 10, seed=2), first[:, ::-1]]))
    assert len(angles) == 20 + (difference > 1e-8)
    assert angles.max() < 1e-4


WIDTH = 40


def key(column: int, score: float = 1.0) -> KeyNeuron:
    return KeyNeuron(*divmod(column, WIDTH), score)


def sets_of(**tags: list[KeyNeuron]) -> NeuronSets:
    return NeuronSets("mlp", (0, 1), WIDTH, {tag: tuple(neurons) for tag, neurons in tags.items()})


SETS = sets_of(VERB=[key(62), key(5), key(30)], NOUN=[key(30), key(7, -3.0), key(41)], X=[], ADJ=[key(8)])
UNION = [5, 7, 8, 30, 41, 62]


def test_redundancy_equals_its_parts():
    x = families()
    assert SETS.union() == UNION
    result = redundancy(SETS, x.astype(np.float32))
    x = x.astype(np.float32).astype(np.float64)
    of = {"ADJ": x[:, [2]], "NOUN": x[:, [3, 1, 4]], "VERB": x[:, [5, 0, 3]]}
    assert result.effective_dimension == pytest.approx(participation_ratio(x), rel=1e-9)
    assert list(result.effective_dimension_by_tag) == ["ADJ", "NOUN", "VERB"]
    for tag, values in of.items():
        assert result.effective_dimension_by_tag[tag] == pytest.approx(participation_ratio(values), rel=1e-9)
    assert list(result.angles) == [("ADJ", "NOUN"), ("ADJ", "VERB"), ("NOUN", "VERB")]
    for (a, b), angles in result.angles.items():
        assert angles == pytest.approx(principal_angles(of[a], of[b]).tolist(), abs=1e-5)
    assert result.angles["NOUN", "VERB"][0] < 1e-5
    assert result.angles["NOUN", "VERB"][1] > 10


def test_neurons_rank_by_position_then_score_then_column():
    """First in a set: 8, 30, 62; second: 7 (score -3), then 5; third: 41."""
    alone = redundancy(SETS, noise(300, 6))
    assert alone.clusters == ((8,), (30,), (62,), (7,), (5,), (41,))
    assert redundancy(SETS, families()).clusters == ((8,), (30, 62, 5), (7, 41))
    assert len(redundancy(SETS, families(), threshold=0.99).clusters) == 6


def test_order_of_the_tags_does_not_matter():
    turned = replace(SETS, tags=dict(reversed(SETS.tags.items())))
    assert redundancy(turned, families()) == redundancy(SETS, families())


def test_more_neurons_than_words():
    x = noise(5, 6)
    result = redundancy(SETS, x)
    assert result.effective_dimension == pytest.approx(participation_ratio(x), rel=1e-9)
    assert result.angles["NOUN", "VERB"] == pytest.approx(
        [0, 0, principal_angles(x[:, [3, 1, 4]], x[:, [5, 0, 3]])[2]], abs=1e-5
    )


def test_constant_key_neurons():
    x = families()
    x[:, 2] = 0.1  # the only neuron of ADJ
    result = redundancy(SETS, x)
    assert list(result.effective_dimension_by_tag) == ["NOUN", "VERB"]
    assert result.angles["ADJ", "NOUN"] == ()
    assert (8,) in result.clusters
    assert result.effective_dimension == pytest.approx(participation_ratio(x[:, [0, 1, 3, 4, 5]]), rel=1e-9)


def test_input_is_unchanged():
    x = families()
    redundancy(SETS, x)
    assert np.array_equal(x, families())


def test_invalid_input_is_rejected():
    with pytest.raises(ValueError, match="got activations of 5 neurons, but the key sets together have 6"):
        redundancy(SETS, noise(30, 5))
    for threshold in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"threshold must lie between 0 and 1, got {threshold}"):
            redundancy(SETS, noise(30, 6), threshold)
    with pytest.raises(ValueError, match="needs a neuron that varies, got 2 constant ones"):
        participation_ratio(np.full((30, 2), 0.1))
    with pytest.raises(ValueError, match="needs a neuron that varies, got 0 constant ones"):
        redundancy(sets_of(NOUN=[], VERB=[]), noise(30, 0))
    with pytest.raises(ValueError, match="finite values, got 1 that are not"):
        redundancy(SETS, np.where(np.arange(180).reshape(30, 6) == 7, np.nan, noise(30, 6)))
