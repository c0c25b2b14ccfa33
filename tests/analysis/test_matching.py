"""Control sets matched in a covariate, and sets of the lowest-ranked neurons."""

from __future__ import annotations

import numpy as np
import pytest

from keyneurons.analysis.controls import lowest_sets, matched_random_sets
from keyneurons.analysis.matching import match_quality, matched_sets

WIDTH = 400
COVARIATE = np.random.default_rng(0).lognormal(size=3 * WIDTH)
# the twenty neurons of largest variance in two of three layers
OWN = [int(c) for layer in (0, 2) for c in np.argsort(COVARIATE[layer * WIDTH :][:WIDTH])[-20:] + layer * WIDTH]


def per_layer(row: np.ndarray) -> list[int]:
    return np.bincount(np.asarray(row) // WIDTH, minlength=3).tolist()


@pytest.mark.parametrize("draw", [matched_sets, lowest_sets])
def test_sets_match_in_size_by_layer_and_exclude_the_given_set(draw):
    result = draw(OWN, COVARIATE, WIDTH, 20, 7)
    for row in result:
        assert per_layer(row) == per_layer(OWN)
        assert sorted(set(row.tolist())) == row.tolist()
        assert not set(row.tolist()) & set(OWN)
    assert len({tuple(row) for row in result.tolist()}) == 20
    np.testing.assert_array_equal(result, draw(OWN, COVARIATE, WIDTH, 20, 7))
    assert not np.array_equal(result, draw(OWN, COVARIATE, WIDTH, 20, 8))


def test_the_first_sets_do_not_depend_on_how_many_are_drawn():
    few, many = (matched_sets(OWN, COVARIATE, WIDTH, n, 3) for n in (4, 30))
    np.testing.assert_array_equal(few, many[:4])


def test_matched_sets_are_similar_and_random_ones_are_not():
    spread = [int(c) for c in np.argsort(COVARIATE[:WIDTH])[-120::4]]  # of the upper third
    matched, random = matched_sets(spread, COVARIATE, WIDTH, 20, 0), matched_random_sets(spread, WIDTH, 3, 20, 0)
    own = COVARIATE[spread].mean()
    assert COVARIATE[matched].mean() == pytest.approx(own, rel=0.1)
    assert COVARIATE[random].mean() < 0.7 * own
    assert match_quality(spread, matched, COVARIATE, WIDTH) < 0.03
    assert match_quality(spread, random, COVARIATE, WIDTH) > 0.25
    assert match_quality(spread, np.array([sorted(spread)]), COVARIATE, WIDTH) == 0


def test_candidates_are_the_nearest_in_rank():
    covariate = np.arange(20.0)
    drawn = {int(row[0]) for row in matched_sets([10], covariate, 20, 200, 0, pool=4)}
    assert drawn == {8, 9, 11, 12}
    barred = {int(row[0]) for row in matched_sets([10], covariate, 20, 200, 0, pool=4, exclude=[9, 11])}
    assert barred == {7, 8, 12, 13}
    scaled = matched_sets([10], covariate**3, 20, 5, 0, pool=4)
    np.testing.assert_array_equal(scaled, matched_sets([10], covariate, 20, 5, 0, pool=4))


def test_the_next_nearest_neurons_are_used_if_candidates_run_out():
    own = list(range(10, 20))
    result = matched_sets(own, np.arange(20.0), 20, 10, 0, pool=2)
    assert all(row.tolist() == list(range(10)) for row in result)  # all available neurons
    with pytest.raises(ValueError, match="layer 0 needs 11 other neurons to match, got 9"):
        matched_sets(list(range(9, 20)), np.arange(20.0), 20, 1, 0)
    with pytest.raises(ValueError, match="layer 0 needs 11 other neurons, got 9"):
        lowest_sets(list(range(9, 20)), np.arange(20.0), 20, 1, 0)


def test_the_lowest_come_from_the_lowest_tenth():
    result = lowest_sets(OWN, COVARIATE, WIDTH, 20, 0)
    for layer in (0, 2):
        lowest = np.argsort(COVARIATE[layer * WIDTH :][:WIDTH])[:40] + layer * WIDTH
        assert set(result[result // WIDTH == layer].tolist()) <= set(lowest.tolist())


@pytest.mark.parametrize(
    ("columns", "covariate", "n_sets", "message"),
    [
        ([0, 0], COVARIATE, 1, "columns must be distinct"),
        ([1200], COVARIATE, 1, r"lie in 0\.\.1199"),
        ([0], COVARIATE, 0, "n_sets"),
        ([0], np.full(400, np.nan), 1, "finite"),
        ([0], COVARIATE[:-1], 1, "covariate|columns"),
    ],
)
def test_impossible_draws_are_rejected(columns, covariate, n_sets, message):
    with pytest.raises(ValueError, match=message):
        matched_sets(columns, covariate, WIDTH, n_sets, 0)


def test_inputs_are_unchanged():
    before = COVARIATE.copy()
    matched_sets(OWN, COVARIATE, WIDTH, 3, 0)
    lowest_sets(OWN, COVARIATE, WIDTH, 3, 0)
    np.testing.assert_array_equal(before, COVARIATE)
