"""Neurons of highest variance: NumPy's ranking, layer by layer, with and without key neurons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planting import KEY_SETS, LAYERS, WIDTH, case

from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.control import Case
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


def test_too_few_other_neurons_are_an_error() -> None:
    here = case()
    most = tuple(KeyNeuron(LAYERS[0], neuron, 1.0) for neuron in range(WIDTH // 2 + 1))
    crowded = replace(here, sets=replace(KEY_SETS, tags={"NOUN": most}))
    with pytest.raises(ValueError, match="got 16 key neurons of 30"):
        TopVariance(without_key=True)(crowded)


def test_only_as_many_neurons_as_key_neurons_are_read() -> None:
    assert TopVariance().reads(5, 100) == 5
