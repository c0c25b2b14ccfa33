"""Neurons of highest variance: NumPy's ranking, layer by layer, with and without key neurons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planting import KEY_SETS, LAYERS, WIDTH, case

from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.control import Case, NotApplicable
from keyneurons.pipeline.controls.top_variance import TopVariance
from keyneurons.records import KeyNeuron


def variances(here: Case) -> np.ndarray:
    """Variance of every neuron on the train words, ``[layers, neurons]``."""
    values = here.activations.columns(here.labels, np.arange(here.n_neurons))["train"].double()
    return values.var(dim=0, correction=0).numpy().reshape(len(LAYERS), WIDTH)


def scaled() -> Case:
    """The planted activations with neurons of very different variance."""
    here = case()
    scale = np.linspace(1.0, 3.0, WIDTH)[np.random.default_rng(0).permutation(WIDTH)]
    stored = here.activations.stored().arrays
    arrays = {
        split: {layer: (array * scale).astype(np.float16) for layer, array in of_split.items()}
        for split, of_split in stored.items()
    }
    return replace(here, activations=StoredActivations(arrays, "mlp"))


@pytest.mark.parametrize("without_key", [False, True])
def test_as_many_neurons_per_layer_as_key_neurons_in_the_order_of_numpy(without_key: bool) -> None:
    here = scaled()
    n_key = np.bincount(here.union // WIDTH, minlength=len(LAYERS))
    expected = []
    for i, row in enumerate(variances(here)):
        order = [i * WIDTH + neuron for neuron in np.argsort(-row, kind="stable")]
        allowed = [c for c in order if not (without_key and c in here.union)]
        expected += sorted(allowed[: n_key[i]])
    trial = TopVariance(without_key)(here)
    assert trial.columns is not None
    assert trial.columns.tolist() == [expected]
    assert not without_key or not set(expected) & set(here.union.tolist())


def test_the_tags_are_not_looked_at() -> None:
    here = scaled()
    train = here.labels.splits["train"]
    shuffled = replace(train, tags=np.random.default_rng(1).permutation(train.tags))
    other = replace(here, labels=replace(here.labels, splits={**here.labels.splits, "train": shuffled}))
    one, two = TopVariance()(here).columns, TopVariance()(other).columns
    assert np.array_equal(one, two)


def test_neurons_shared_with_the_key_neurons_are_counted() -> None:
    here = scaled()
    trial = TopVariance()(here)
    assert trial.columns is not None
    shared = len({*trial.columns[0].tolist()} & {*KEY_SETS.union()})
    assert 0 < shared < len(KEY_SETS.union()) == 4
    assert trial.facts == {"shared_neurons": shared}
    assert trial.note == f"({shared} of 4 are key neurons)"
    without = TopVariance(without_key=True)(here)
    assert (without.facts, without.note) == ({}, "")


def test_the_verdict_uses_the_set_that_may_have_key_neurons() -> None:
    assert TopVariance().role == "label_free"
    assert TopVariance(without_key=True).role is None


def crowded(n: int) -> Case:
    """The first n neurons of the first layer as key neurons."""
    most = tuple(KeyNeuron(LAYERS[0], neuron, 1.0) for neuron in range(n))
    return replace(case(), sets=replace(KEY_SETS, tags={"NOUN": most}))


def test_too_few_other_neurons_are_told() -> None:
    with pytest.raises(NotApplicable, match="16 of the 30 neurons of layer 1 are key neurons"):
        TopVariance(without_key=True)(crowded(WIDTH // 2 + 1))
    half = TopVariance(without_key=True)(crowded(WIDTH // 2)).columns
    assert half is not None
    assert half.tolist() == [list(range(WIDTH // 2, WIDTH))]


def test_only_as_many_neurons_as_key_neurons_are_read() -> None:
    assert TopVariance().reads(5, 100) == 5
