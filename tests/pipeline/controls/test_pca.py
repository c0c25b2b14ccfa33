"""Principal components of each layer are scikit-learn's, fitted on train without tags."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planting import KEY_SETS, LAYERS, NAMES, WIDTH, case
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keyneurons.pipeline.activations import StoredActivations
from keyneurons.pipeline.controls.control import Case, NotApplicable
from keyneurons.pipeline.controls.pca import PrincipalComponents
from keyneurons.records import SPLITS, KeyNeuron


def with_a_constant_neuron() -> Case:
    """Layer 4 with a constant neuron that changes in test, and a neuron of huge variance."""
    here = case()
    arrays = {
        split: {layer: a.copy() for layer, a in own.items()} for split, own in here.activations.stored().arrays.items()
    }
    for split in SPLITS:
        arrays[split][4][:, 3] = 9.0 if split == "test" else 1.0
        arrays[split][4][:, 5] *= 1000
    return replace(here, activations=StoredActivations(arrays, "mlp"))


def test_scores_are_those_of_scikit_learn() -> None:
    here = with_a_constant_neuron()
    trial = PrincipalComponents()(here)
    assert trial.columns is not None
    assert trial.features is not None
    assert trial.columns.tolist() == [[0, 1, 2, 3]]
    varying = np.arange(WIDTH) != 3
    for place, layer, some in ((slice(0, 1), 1, slice(None)), (slice(1, 4), 4, varying)):
        values = {
            split: own[layer][:, some].astype(np.float64) for split, own in here.activations.stored().arrays.items()
        }
        fitted = make_pipeline(StandardScaler(), PCA(place.stop - place.start, svd_solver="full"))
        fitted.fit(values["train"])
        for split in SPLITS:
            expected = fitted.transform(values[split])
            own = trial.features[split][:, place].numpy()
            sign = np.sign((own * expected).sum(axis=0))
            assert own * sign == pytest.approx(expected, abs=2e-3)


def test_the_tags_are_not_looked_at() -> None:
    here = case()
    other = replace(here, labels=replace(here.labels, splits=dict(here.labels.splits)))
    train = here.labels.splits["train"]
    other.labels.splits["train"] = replace(train, tags=np.random.default_rng(1).permutation(train.tags))  # type: ignore[index]
    one, two = PrincipalComponents()(here).features, PrincipalComponents()(other).features
    assert one is not None
    assert two is not None
    assert all(np.array_equal(one[split], two[split]) for split in SPLITS)


def test_more_key_neurons_than_components_are_told() -> None:
    here = with_a_constant_neuron()
    every = tuple(KeyNeuron(LAYERS[1], neuron, 1.0) for neuron in range(WIDTH))
    with pytest.raises(NotApplicable, match="layer 4 has 29 components for 30 key neurons"):
        PrincipalComponents()(replace(here, sets=replace(KEY_SETS, tags={"NOUN": every})))


def test_without_key_neurons_there_is_no_probe() -> None:
    trial = PrincipalComponents()(replace(case(), sets=replace(KEY_SETS, tags=dict.fromkeys(NAMES, ()))))
    assert trial.columns is not None
    assert trial.columns.size == 0


def test_all_neurons_are_read() -> None:
    assert PrincipalComponents().reads(5, 100) == 100
