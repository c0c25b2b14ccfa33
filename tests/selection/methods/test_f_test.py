"""F against scipy."""

from __future__ import annotations

import pytest
import torch
from awkward_words import awkward
from scipy.stats import f_oneway, ttest_ind

from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.f_test import FTest
from keyneurons.selection.methods.mean_difference import MeanDifference
from keyneurons.selection.scorer import ColumnError


def test_numbers_of_methods_md():
    values, tags = torch.tensor([1.0, 2, 3, 4, 2, 4, 6, 8])[:, None], torch.tensor([0] * 4 + [1] * 4)
    scores, p_values = FTest().test(values, tags, 2)
    torch.testing.assert_close(scores, torch.full((2, 1), 3.0).double())
    torch.testing.assert_close(p_values, torch.full((2, 1), 0.1339746).double(), atol=1e-7, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_equals_scipy(dtype):
    values, tags = awkward(dtype)
    scores, p_values = FTest().test(values, tags, 4)
    for tag in range(4):
        for neuron in (0, 1, 2, 4, 5, 6, 7):
            x = values[:, neuron].double().numpy()
            oracle = f_oneway(x[tags == tag], x[tags != tag])
            assert scores[tag, neuron].item() == pytest.approx(oracle.statistic, rel=1e-5, abs=1e-7)
            assert p_values[tag, neuron].item() == pytest.approx(oracle.pvalue, rel=1e-5)
    assert scores[:, 3].tolist() == [0.0] * 4
    assert p_values[:, 3].tolist() == [1.0] * 4


def test_all_three_have_the_same_ranking():
    values, tags = awkward()
    order = Correlation()(values, tags, 4).abs().argsort(dim=1)
    assert torch.equal(FTest()(values, tags, 4).argsort(dim=1), order)
    assert torch.equal(MeanDifference()(values, tags, 4).abs().argsort(dim=1), order)


def test_one_word_of_a_tag_is_enough():
    values, tags = awkward()
    tags[[5, 80]] = 0
    x = values[:, 1].numpy()
    oracle = ttest_ind(x[tags == 3], x[tags != 3])
    assert FTest().test(values, tags, 4)[1][3, 1].item() == pytest.approx(oracle.pvalue)


@pytest.mark.parametrize("scorer", [FTest(), MeanDifference()], ids=repr)
def test_an_infinite_score_is_rejected(scorer):
    tags = torch.tensor([0, 1, 1, 0, 1, 2])
    values = torch.stack([torch.arange(6.0), (tags == 1) * 0.3 + 7], dim=1)
    with pytest.raises(ColumnError, match="column 1 does not vary within tag 1 nor within the rest"):
        scorer(values, tags, 3)


def test_two_words_have_no_variance_within():
    with pytest.raises(ValueError, match="needs at least 3 words, got 2"):
        FTest()(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]), 2)
