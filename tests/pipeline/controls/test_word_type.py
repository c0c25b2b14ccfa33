"""The most frequent tag of the word, counted by hand."""

from __future__ import annotations

import numpy as np
from planting import case

from keyneurons.pipeline.controls.word_type import WordType
from keyneurons.records import LabelledWords, Labels


def test_by_hand() -> None:
    """In train, "run" has tag 1 twice and 0 once, "the" tag 0; "new" gets the majority tag."""
    train = LabelledWords(np.arange(6), np.array([0, 0, 0, 1, 1, 0]), ("the", "the", "the", "run", "run", "run"))
    test = LabelledWords(np.arange(5), np.array([0, 1, 0, 1, 0]), ("the", "run", "run", "new", "new"))
    labels = Labels("upos", ("DET", "VERB"), {"train": train, "dev": test, "test": test})
    trial = WordType()(case(labels=labels))
    assert trial.predictions is not None
    assert trial.predictions.tolist() == [0, 1, 1, 0, 0]
    assert trial.columns is None


def test_no_neuron_is_read() -> None:
    assert WordType().reads(5, 100) == 0
