"""Coordinates of rotated layers: selected again by the run's method; a planted basis is special."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from planting import LAYERS, NAMES, WIDTH, case, reselection
from sklearn.linear_model import LogisticRegression

from keyneurons.pipeline.activations import Activations
from keyneurons.pipeline.controls.control import NotApplicable
from keyneurons.pipeline.controls.random_rotation import RandomRotation
from keyneurons.records import SPLITS, KeyNeuron, Labels, NeuronSets


def every(labels: Labels, activations: Activations) -> NeuronSets:
    """Selects all coordinates."""
    own = tuple(KeyNeuron(layer, i, 1.0) for layer in LAYERS for i in range(WIDTH))
    return NeuronSets("mlp", LAYERS, WIDTH, dict.fromkeys(NAMES, own))


def test_each_layer_is_rotated_by_itself_the_same_in_all_splits() -> None:
    here = replace(case(), reselect=every)
    (trial,) = RandomRotation(1)(here)
    assert trial.features is not None
    for i in range(len(LAYERS)):
        standard, block = here.standardised(i), slice(i * WIDTH, (i + 1) * WIDTH)
        turn = torch.linalg.lstsq(standard["train"].double(), trial.features["train"][:, block].double()).solution
        assert turn @ turn.T == pytest.approx(np.eye(WIDTH), abs=1e-4)
        assert not torch.allclose(turn, torch.eye(WIDTH).double(), atol=0.5)
        for split in SPLITS:
            expected = standard[split].double() @ turn
            assert trial.features[split][:, block].numpy() == pytest.approx(expected.numpy(), abs=1e-4)


def test_the_method_selects_on_the_labelled_train_words() -> None:
    """A method that sees the rotated array returns its first coordinate of layer 4."""
    here = case()
    seen: list[np.ndarray] = []

    def first(labels: Labels, activations: Activations) -> NeuronSets:
        words = labels.splits["train"]
        seen.append(activations.stored().arrays["train"][4][words.rows])
        return NeuronSets("mlp", LAYERS, WIDTH, {"NOUN": (KeyNeuron(4, 0, 1.0),)})

    train = here.labels.splits["train"]
    fewer = replace(here.labels, splits={**here.labels.splits, "train": train.of(train.rows % 3 == 0)})
    trials = RandomRotation(3)(replace(here, labels=fewer, reselect=first))
    assert len(trials) == 3
    for trial, array in zip(trials, seen, strict=True):
        assert trial.features is not None
        assert array.shape == (200, WIDTH)
        assert trial.features["train"].numpy()[:, 0] == pytest.approx(array[:, 0], abs=1e-5)
        assert trial.facts == {"coordinates": 1.0}
        assert trial.note == "1, 1, 1 coordinates"
    assert not np.allclose(seen[0], seen[1])


def test_a_planted_basis_is_special() -> None:
    """Three planted neurons tell the tags; three coordinates of a rotation see a part of each."""
    here = case()
    raw = here.activations.columns(here.labels, here.union)
    trials = RandomRotation(2)(replace(here, reselect=reselection(here.activations.stored(), here.labels, 1)))
    tags = {split: here.labels.splits[split].tags for split in SPLITS}
    neurons = LogisticRegression().fit(raw["train"].float(), tags["train"]).score(raw["test"].float(), tags["test"])
    for trial in trials:
        assert trial.features is not None
        model = LogisticRegression().fit(trial.features["train"], tags["train"])
        assert model.score(trial.features["test"], tags["test"]) < neurons - 0.05


def test_what_cannot_be_rotated_is_told() -> None:
    here = case()
    with pytest.raises(NotApplicable, match="not selected on these words"):
        RandomRotation(1)(replace(here, reselect=None))
    with pytest.raises(NotApplicable, match="not stored"):
        RandomRotation(1)(replace(here, activations=Mock(spec=Activations)))
    with pytest.raises(NotApplicable, match="selects no coordinate"):
        RandomRotation(1)(replace(here, reselect=lambda *_: NeuronSets("mlp", LAYERS, WIDTH, {})))


def test_rotations_follow_the_seed() -> None:
    one, again, other = (RandomRotation(1)(case(seed))[0].features for seed in (0, 0, 1))
    assert one is not None
    assert again is not None
    assert other is not None
    assert torch.equal(one["test"], again["test"])
    assert one["test"].shape != other["test"].shape or not torch.allclose(one["test"], other["test"])


def test_attributions_are_not_rotated() -> None:
    """The run's method scores attributions, which rotated activations do not have."""
    here = case()
    own = reselection(here.activations.stored(), here.labels)
    attributed = replace(own, words=replace(own.words, position=np.arange(600), attributed=True))
    with pytest.raises(NotApplicable, match="attributions"):
        RandomRotation(1)(replace(here, reselect=attributed))


def test_draws_and_memory() -> None:
    assert RandomRotation(3).reads(5, 100) == 100
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        RandomRotation(0)
