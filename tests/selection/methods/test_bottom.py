"""The lowest-ranked neurons of another method."""

from __future__ import annotations

import torch
from awkward_words import awkward

from keyneurons.selection.methods.bottom import Bottom
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.f_test import FTest
from keyneurons.selection.methods.probeless import Probeless
from keyneurons.selection.rules import top_k_neurons


def test_bottom_reverses_a_ranking():
    values, tags = awkward()
    scores = Correlation()(values, tags, 4)
    bottom = Bottom(Correlation())(values, tags, 4)
    assert torch.equal(top_k_neurons(bottom, 8), top_k_neurons(scores, 8).flip(1))
    assert (bottom[:, 3] == 1).all()  # the constant neuron ranks lowest
    assert bottom.min() == 1 / 8


def test_ranks_equal_a_direct_loop_with_ties_to_the_lower_neuron():
    scores = torch.tensor([[1.0, -3.0, 0.0, 3.0, 0.0], [0.0] * 5]).double()
    expected = torch.empty_like(scores)
    for tag in range(2):
        ranking = sorted(range(5), key=lambda neuron: (-abs(scores[tag, neuron]), neuron))
        for place, neuron in enumerate(ranking, start=1):
            expected[tag, neuron] = place / 5
    assert torch.equal(Bottom(Correlation()).places(scores), expected)
    assert expected[0].tolist() == [0.6, 0.2, 0.8, 0.4, 1.0]


def test_methods_with_equal_rankings_have_the_same_bottom():
    values, tags = awkward()
    assert torch.equal(Bottom(FTest())(values, tags, 4), Bottom(Correlation())(values, tags, 4))
    assert not torch.equal(Bottom(Probeless())(values, tags, 4), Bottom(Correlation())(values, tags, 4))
