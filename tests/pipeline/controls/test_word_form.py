"""The control on word forms uses the forms as written and no neuron."""

from __future__ import annotations

import numpy as np
from planting import case

from keyneurons.pipeline.controls.word_form import WordForm
from keyneurons.records import LabelledWords, Labels


def test_names_are_told_by_their_capital() -> None:
    forms = ("cat", "Bob", "dog", "Tom", "cow", "Jim") * 10
    words = LabelledWords(np.arange(60), np.array([0, 1] * 30), forms)
    test = LabelledWords(np.arange(4), np.array([0, 1, 1, 0]), ("hen", "Ada", "Eve", "pig"))
    labels = Labels("upos", ("NOUN", "PROPN"), {"train": words, "dev": words, "test": test})
    trial = WordForm()(case(labels=labels))
    assert trial.predictions is not None
    assert trial.predictions.tolist() == [0, 1, 1, 0]
    assert trial.columns is None


def test_no_neuron_is_read() -> None:
    assert WordForm().reads(5, 100) == 0
    assert WordForm().role == "form"
