"""Entropy of activation probabilities and its filter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy as entropy_of

from keyneurons.selection.methods.lape import LAPE, entropy


def active(probabilities: list[list[float]], words: int = 1000) -> tuple[torch.Tensor, torch.Tensor]:
    """Neurons that are active on these shares of the words of each tag; otherwise at or below 0."""
    shares = torch.tensor(probabilities)
    tags = torch.arange(len(shares)).repeat_interleave(words)
    place = torch.arange(words).repeat(len(shares))[:, None]
    values = torch.where(place < shares[tags] * words, 1.0 + place, -1.0 * (place % 3))
    return values, tags


def test_numbers_of_methods_md():
    result = entropy(torch.tensor([[0.9, 1.0, 0.009], [0.1, 1.0, 0.001], [0.0, 1.0, 0.0]], dtype=torch.float64))
    assert result.tolist() == pytest.approx([0.325083, 1.098612, 0.325083], abs=1e-6)


def test_specific_neurons_are_strongest_and_inactive_ones_weakest():
    """Neurons: specific to tag 0, uniform, never active, and specific but rarely active."""
    values, tags = active([[0.9, 0.5, 0.0, 0.009], [0.1, 0.5, 0.0, 0.001], [0.0, 0.5, 0.0, 0.0]])
    scores = LAPE(percentile=60.0)(values, tags, 3)
    assert scores[0, 0].item() == pytest.approx(math.log(3) - 0.325083, abs=1e-6)
    assert scores[:, 1].tolist() == pytest.approx([0.0] * 3)
    assert scores[:, 2].tolist() == [0.0] * 3
    assert scores[:, 3].tolist() == [0.0] * 3  # without the filter it would tie with the first
    assert scores[1:, 0].tolist() == pytest.approx([math.log(3) - 0.325083, 0.0], abs=1e-6)


def test_equals_a_direct_computation():
    rng = np.random.default_rng(0)
    values, tags = torch.from_numpy(rng.normal(-0.5, 1, (500, 40))), torch.from_numpy(rng.integers(0, 4, 500))
    values[:, :5] += 2 * (tags == 1)[:, None]
    p = np.stack([(values[tags == tag] > 0).double().mean(dim=0).numpy() for tag in range(4)])
    threshold = np.sort(p.ravel())[round(p.size * 0.9) - 1]
    expected = np.where(p > threshold, math.log(4) - entropy_of(p, axis=0), 0)
    np.testing.assert_allclose(LAPE(percentile=90.0)(values, tags, 4), expected, atol=1e-12)
    assert set(np.argsort(-expected[1])[:5]) == set(range(5))


def test_score_depends_only_on_the_sign_of_activations():
    rng = np.random.default_rng(1)
    values, tags = torch.from_numpy(rng.normal(0, 1, (300, 6))), torch.from_numpy(rng.integers(0, 3, 300))
    assert torch.equal(LAPE(60.0)(values, tags, 3), LAPE(60.0)(values.sign() * 7, tags, 3))
    assert LAPE(60.0)(values, tags, 3).any()


@pytest.mark.parametrize("percentile", [0.0, 100.0, -1.0])
def test_percentile_out_of_range(percentile):
    with pytest.raises(ValueError, match="percentile must lie between 0 and 100"):
        LAPE(percentile)


def test_equal_probabilities_stay_equal_for_any_first_word():
    """With six words per tag, probabilities often tie with the percentile."""
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        values, tags = torch.randn(60, 20, generator=generator), torch.arange(60) % 10
        order = torch.randperm(60, generator=generator)
        assert torch.equal(LAPE(80.0)(values, tags, 10), LAPE(80.0)(values[order], tags[order], 10))


def test_neurons_that_are_always_or_never_active_score_zero():
    values, tags = active([[1.0, 0.0, 0.9], [1.0, 0.0, 0.1]])
    scores = LAPE(percentile=10.0)(values, tags, 2)
    assert scores[:, :2].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert scores[0, 2] > 0
