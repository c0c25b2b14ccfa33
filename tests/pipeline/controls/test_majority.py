"""The majority tag, counted by hand."""

from __future__ import annotations

import numpy as np
from planting import case

from keyneurons.pipeline.controls.majority import Majority
from keyneurons.records import LabelledWords, Labels


def test_by_hand() -> None:
    """4 of 6 train words have tag 0."""
    train = LabelledWords(np.arange(6), np.array([0, 0, 0, 1, 1, 0]), ("the", "the", "the", "run", "run", "run"))
    test = LabelledWords(np.arange(5), np.array([0, 1, 0, 1, 0]), ("the", "run", "run", "new", "new"))
    labels = Labels("upos", ("DET", "VERB"), {"train": train, "dev": test, "test": test})
    trial = Majority()(case(labels=labels))
    assert trial.predictions is not None
    assert trial.predictions.tolist() == [0] * 5
    assert trial.columns is None


def test_no_neuron_is_read() -> None:
    assert Majority().reads(5, 100) == 0
