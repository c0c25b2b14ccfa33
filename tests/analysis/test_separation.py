"""AUROC against scikit-learn and a direct count of pairs; controls against planted neurons."""

from __future__ import annotations

import numpy as np
import pytest

from keyneurons.analysis.separation import QUANTILES, auroc, separation, spread

N_TAGS = 3


def words(n=200, neurons=4, seed=0):
    rng = np.random.default_rng(seed)
    tags = rng.integers(0, N_TAGS, n)
    tags[:N_TAGS] = range(N_TAGS)
    return rng.normal(size=(n, neurons)), tags


def test_the_area_equals_scikit_learn_with_many_ties():
    from sklearn.metrics import roc_auc_score

    values, tags = words()
    values = np.round(values)
    assert len(np.unique(values)) < 10
    expected = [[roc_auc_score(tags == tag, column) for column in values.T] for tag in range(N_TAGS)]
    np.testing.assert_allclose(auroc(values, tags, N_TAGS), expected, rtol=0, atol=1e-12)


def test_the_area_is_the_share_of_pairs_in_order_with_ties_as_halves():
    values, tags = words(n=30, neurons=1)
    values = np.round(values, 1)
    own, rest = values[tags == 1], values[tags != 1]
    pairs = np.sign(own - rest.T)
    assert auroc(values, tags, N_TAGS)[1, 0] == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2, abs=1e-12)


def test_a_negated_neuron_has_the_complement_and_a_constant_one_half():
    values, tags = words()
    np.testing.assert_allclose(auroc(-values, tags, N_TAGS), 1 - auroc(values, tags, N_TAGS), atol=1e-12)
    assert (auroc(np.full_like(values, 3.5), tags, N_TAGS) == 0.5).all()


def test_half_precision_is_ranked_exactly():
    values, tags = words()
    half = values.astype(np.float16)
    np.testing.assert_array_equal(auroc(half, tags, N_TAGS), auroc(half.astype(np.float64), tags, N_TAGS))


def test_a_planted_neuron_beats_the_others_and_one_of_the_others_does_not():
    values, tags = words(n=600, neurons=61)
    planted = values[:, 0] - 2.0 * (tags == 1)
    result = separation(planted, values[:, 1:], tags, N_TAGS)
    assert result.auroc[1] < 0.2
    assert result.either_way[1] == 1 - result.auroc[1]
    assert result.either_way[1] > result.control_high[1]
    assert result.share_as_good[1] == 0
    plain = separation(values[:, 0], values[:, 1:], tags, N_TAGS)
    assert plain.either_way[1] < 0.6
    assert plain.share_as_good[1] > 0.05


def test_the_controls_are_quantiles_of_the_others_either_way():
    values, tags = words(neurons=41)
    result = separation(values[:, 0], values[:, 1:], tags, N_TAGS)
    areas = auroc(values[:, 1:], tags, N_TAGS)
    folded = np.where(areas < 0.5, 1 - areas, areas)
    for quantile, given in ((0.025, result.control_low), (0.5, result.control_median), (0.975, result.control_high)):
        np.testing.assert_allclose(given, np.quantile(folded, quantile, axis=1))
    assert result.n_controls == 40


def test_a_neuron_is_as_good_as_its_copies():
    values, tags = words(neurons=1)
    assert (separation(values[:, 0], np.repeat(values, 5, axis=1), tags, N_TAGS).share_as_good == 1).all()


def test_spread_gives_the_quantiles_of_each_tag():
    values, tags = words(neurons=1)
    result = spread(values[:, 0], tags, N_TAGS)
    for tag in range(N_TAGS):
        own = values[tags == tag, 0]
        np.testing.assert_allclose(result[tag], np.quantile(own, QUANTILES))
        assert (result[tag, 0], result[tag, -1]) == (own.min(), own.max())


def test_bad_input():
    values, tags = words()
    with pytest.raises(ValueError, match=r"each of 4 tags needs some of the 200 words but not all, got \["):
        auroc(values, tags, 4)
    with pytest.raises(ValueError, match="each of 1 tags needs some of the 200 words but not all"):
        auroc(values, np.zeros_like(tags), 1)
    with pytest.raises(ValueError, match="each of 4 tags needs words, got none of tag 3"):
        spread(values[:, 0], tags, 4)
    with pytest.raises(ValueError, match="comparison needs at least 1 other neuron, got 0"):
        separation(values[:, 0], values[:, :0], tags, N_TAGS)
    values[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 activations are not finite"):
        auroc(values, tags, N_TAGS)
