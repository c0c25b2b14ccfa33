"""Metrics against scikit-learn, including classes that never occur."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from sklearn import metrics as oracle

from keyneurons.probe.metrics import classification_metrics


def test_metrics_equal_scikit_learn_even_with_absent_classes():
    rng = np.random.default_rng(0)
    true = rng.choice([0, 1, 2, 4], 500, p=[0.6, 0.2, 0.15, 0.05])
    predicted = np.where(rng.random(500) < 0.7, true, rng.choice([0, 1, 3], 500))
    ours = classification_metrics(torch.from_numpy(predicted), torch.from_numpy(true), 6)
    assert ours.accuracy == pytest.approx(oracle.accuracy_score(true, predicted))
    assert ours.macro_f1 == pytest.approx(oracle.f1_score(true, predicted, average="macro", zero_division=0))
    each = oracle.f1_score(true, predicted, average=None, labels=range(6), zero_division=0)
    np.testing.assert_allclose(ours.f1, each, rtol=1e-6)
    np.testing.assert_array_equal(ours.confusion, oracle.confusion_matrix(true, predicted, labels=range(6)))


def test_bad_input_is_named():
    two, three = torch.tensor([0, 1]), torch.tensor([0, 1, 2])
    # the run-time type check may raise first
    with pytest.raises((ValueError, TypeCheckError), match=r"predictions of shape|words"):
        classification_metrics(two, three, 3)
    with pytest.raises(ValueError, match=r"targets must lie in 0\.\.1, got 0\.\.2"):
        classification_metrics(torch.zeros(3, dtype=torch.int64), three, 2)
    with pytest.raises(ValueError, match=r"predictions must lie in 0\.\.1, got 0\.\.2"):
        classification_metrics(three, torch.zeros(3, dtype=torch.int64), 2)
