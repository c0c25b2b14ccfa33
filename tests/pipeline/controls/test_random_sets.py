"""Random sets are matched to the key neurons in every layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planting import KEY_SETS, LAYERS, WIDTH, case

from keyneurons.pipeline.controls.control import NotApplicable
from keyneurons.pipeline.controls.random_sets import RandomSets
from keyneurons.records import KeyNeuron


def test_sets_have_as_many_neurons_in_every_layer() -> None:
    trial = RandomSets(6)(case())
    union = np.array(KEY_SETS.union())
    assert trial.columns is not None
    assert trial.columns.shape == (6, len(union))
    for row in trial.columns:
        assert len(set(row)) == len(row)
        assert np.bincount(row // WIDTH).tolist() == np.bincount(union // WIDTH).tolist()
    assert (trial.tags, trial.predictions) == (None, None)


def test_sets_may_leave_out_the_key_neurons() -> None:
    columns = RandomSets(50, without_key=True)(case()).columns
    assert columns is not None
    assert not {*columns.ravel().tolist()} & {*KEY_SETS.union()}
    others = {*range(2 * WIDTH)} - {*KEY_SETS.union()}
    assert {*RandomSets(500, without_key=True)(case()).columns.ravel().tolist()} == others  # type: ignore[union-attr]
    assert RandomSets(2, without_key=True).label == "matched random sets, key neurons excluded"


def test_too_few_other_neurons_are_told() -> None:
    most = tuple(KeyNeuron(LAYERS[1], neuron, 1.0) for neuron in range(WIDTH // 2 + 1))
    crowded = replace(case(), sets=replace(KEY_SETS, tags={"NOUN": most}))
    with pytest.raises(NotApplicable, match="16 of the 30 neurons of layer 4 are key neurons"):
        RandomSets(2, without_key=True)(crowded)
    assert RandomSets(2)(crowded).draws == 2


def test_sets_follow_the_seed() -> None:
    one, again, other = (RandomSets(3)(case(seed)).columns for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_as_many_as_they_are_and_no_more_than_there_are() -> None:
    assert RandomSets(20).reads(10, 10_000) == 200
    assert RandomSets(20).reads(10, 100) == 100


def test_one_set_has_no_spread() -> None:
    with pytest.raises(ValueError, match="sets must be at least 2, got 1"):
        RandomSets(1)
