"""Controls are matched where required and random otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from keyneurons.analysis.controls import (
    control_task_tags,
    empirical_p_value,
    majority_tag,
    matched_random_sets,
    word_type_predictions,
)

COLUMNS = [3, 7, 12, 25, 26, 27, 28]  # 2, 1 and 4 of three layers of 10


def test_random_sets_match_layer_by_layer():
    sets = matched_random_sets(COLUMNS, 10, 3, 50, seed=0)
    assert sets.shape == (50, 7)
    assert (np.diff(sets, axis=1) > 0).all()
    assert all(np.bincount(row // 10, minlength=3).tolist() == [2, 1, 4] for row in sets)


def test_random_sets_draw_every_neuron_equally_often():
    sets = matched_random_sets(COLUMNS, 10, 3, 4000, seed=0)
    share = np.bincount(sets.ravel(), minlength=30) / 4000
    np.testing.assert_allclose(share, np.repeat([0.2, 0.1, 0.4], 10), atol=0.03)


def test_random_sets_depend_on_the_seed():
    one, again, other = (matched_random_sets(COLUMNS, 10, 3, 5, seed=seed) for seed in (4, 4, 5))
    assert (one == again).all()
    assert (one != other).any()
    assert len({tuple(row) for row in one}) > 1
    assert (matched_random_sets(COLUMNS[::-1], 10, 3, 5, seed=4) == one).all()


def test_random_set_of_a_whole_layer_is_the_layer():
    assert matched_random_sets(list(range(10, 20)), 10, 3, 2, seed=0).tolist() == [list(range(10, 20))] * 2


@pytest.mark.parametrize("columns", [[30], [-1], [4, 4]])
def test_random_sets_reject_invalid_columns(columns):
    with pytest.raises(ValueError, match=r"distinct and lie in 0\.\.29, got"):
        matched_random_sets(columns, 10, 3, 1, seed=0)


def test_at_least_one_random_set():
    with pytest.raises(ValueError, match="n_sets must be at least 1, got 0"):
        matched_random_sets(COLUMNS, 10, 3, 0, seed=0)


def test_majority_ties_go_to_the_lower_tag():
    assert majority_tag(np.array([2, 1, 1, 2, 0])) == 1
    with pytest.raises(ValueError, match="got 0"):
        majority_tag(np.array([], dtype=np.int64))


def test_word_type():
    forms = ["run", "run", "run", "the", "light", "light", "the"]
    tags = np.array([2, 2, 1, 0, 2, 1, 0])
    assert word_type_predictions(forms, tags, ["light", "run", "the", "new"], 3).tolist() == [1, 2, 0, 2]
    assert word_type_predictions(forms, np.array([2, 2, 1, 0, 0, 1, 0]), ["new"], 3).tolist() == [0]
    with pytest.raises(ValueError, match="got 1 forms and 2 tags"):
        word_type_predictions(["a"], np.array([0, 1]), [], 2)


def test_control_task_has_one_tag_per_type_in_all_splits():
    train, test = ["a", "b", "a", "c", "b"], ["c", "a", "d", "d"]
    tags = np.array([0, 1, 1, 0, 2])
    in_train, in_test = control_task_tags([train, test], tags, 3, seed=0)
    assert in_train[0] == in_train[2] == in_test[1]
    assert in_train[3] == in_test[0]
    assert in_test[2] == in_test[3]
    alone = control_task_tags([test[::-1]], tags, 3, seed=0)[0]
    assert alone[::-1].tolist() == in_test.tolist()


def test_control_task_draws_from_the_tags_of_train():
    forms = [f"word{i}" for i in range(20_000)]
    train_tags = np.repeat([0, 1, 3], [600, 300, 100])
    drawn = control_task_tags([forms], train_tags, 4, seed=1)[0]
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 20_000, [0.6, 0.3, 0, 0.1], atol=0.015)
    other = control_task_tags([forms], train_tags, 4, seed=2)[0]
    assert (drawn == other).mean() == pytest.approx(0.36 + 0.09 + 0.01, abs=0.02)
    with pytest.raises(ValueError, match="got 0"):
        control_task_tags([forms], np.array([], dtype=np.int64), 4, seed=1)


def test_empirical_p_value():
    control = np.array([0.1, 0.2, 0.3, 0.4])
    assert empirical_p_value(0.5, control) == 0.2
    assert empirical_p_value(0.3, control) == 0.6
    assert empirical_p_value(0.0, control) == 1.0
    with pytest.raises(ValueError, match="at least 1 draw"):
        empirical_p_value(0.5, np.array([]))
    with pytest.raises(ValueError, match="finite"):
        empirical_p_value(np.nan, control)


def test_control_task_is_reproducible_everywhere():
    """The draw depends only on seed and form, not on process, hash seed or library versions."""
    assert control_task_tags([["the", "of", "and", "light"]], np.arange(100), 100, seed=0)[0].tolist() == [
        25,
        41,
        44,
        28,
    ]
