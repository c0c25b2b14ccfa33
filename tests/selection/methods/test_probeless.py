"""Distances between means, computed by hand."""

from __future__ import annotations

import pytest
import torch
from awkward_words import awkward

from keyneurons.selection.methods.probeless import Probeless


def test_numbers_of_methods_md():
    """Means (0, 0), (1, 3), (2, 0): second tag [2, 6]; half the sum over the tags is [4, 6]."""
    means = torch.tensor([[0.0, 0.0], [1.0, 3.0], [2.0, 0.0]])
    scores = Probeless()(means, torch.arange(3), 3)
    assert scores[1].tolist() == [2.0, 6.0]
    assert (scores.sum(dim=0) / 2).tolist() == [4.0, 6.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_equals_a_direct_loop(dtype):
    values, tags = awkward(dtype)
    scores, scaled = Probeless()(values, tags, 4), Probeless(standardised=True)(values, tags, 4)
    x = values.double()
    means = [x[tags == tag].mean(dim=0) for tag in range(4)]
    for tag in range(4):
        by_hand = sum((means[tag] - mean).abs() for mean in means)
        by_hand[3] = 0  # constant
        torch.testing.assert_close(scores[tag], by_hand, rtol=1e-6, atol=1e-6)
        deviation = x.std(dim=0, correction=0)
        deviation[3] = 1
        torch.testing.assert_close(scaled[tag], by_hand / deviation, rtol=1e-6, atol=1e-6)


def test_the_mean_of_a_tag_with_one_word_is_that_word():
    values, tags = awkward()
    tags[[5, 80]] = 0
    means = [values[tags == tag].mean(dim=0) for tag in range(3)] + [values[200]]
    torch.testing.assert_close(Probeless()(values, tags, 4)[3, 1], sum((means[3] - m).abs() for m in means)[1])


def test_scores_ignore_the_sign_of_differences_and_are_never_negative():
    values, tags = awkward()
    assert Probeless()(values, tags, 4).min() >= 0
    torch.testing.assert_close(Probeless()(-values, tags, 4), Probeless()(values, tags, 4))
