"""The mean effect of a neuron on a tag's words equals that of numpy; 0 stays 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from keyneurons.selection.methods.mean_effect import MeanEffect


def test_means_by_tag_and_no_thresholds():
    rng = np.random.default_rng(0)
    values, tags = rng.normal(size=(40, 6)).astype(np.float32), np.arange(40) % 3
    values[:, 1], values[:, 4] = 0, 0.25
    scores = MeanEffect()(torch.from_numpy(values), torch.from_numpy(tags), 3)
    expected = np.stack([values[tags == tag].astype(np.float64).mean(axis=0) for tag in range(3)])
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert not scores[:, 1].any()
    assert scores[:, 4].tolist() == pytest.approx([0.25] * 3)
    assert not MeanEffect().traits.permutable
    assert not MeanEffect().traits.tested
