"""Cohen's d, the raw difference and Student's t against scipy."""

from __future__ import annotations

import pytest
import torch
from awkward_words import awkward
from scipy.stats import ttest_ind

from keyneurons.selection.methods.mean_difference import MeanDifference


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_equals_scipy(dtype):
    values, tags = awkward(dtype)
    scores, p_values = MeanDifference().test(values, tags, 4)
    raw, raw_p = MeanDifference(standardised=False).test(values, tags, 4)
    for tag in range(4):
        n = int((tags == tag).sum())
        for neuron in (0, 1, 2, 4, 5, 6, 7):
            x = values[:, neuron].double().numpy()
            own, rest = x[tags == tag], x[tags != tag]
            oracle = ttest_ind(own, rest)
            assert scores[tag, neuron].item() == pytest.approx(
                oracle.statistic * (1 / n + 1 / (300 - n)) ** 0.5, rel=1e-5, abs=1e-6
            )
            assert raw[tag, neuron].item() == pytest.approx(own.mean() - rest.mean(), rel=1e-6, abs=1e-6)
            assert p_values[tag, neuron].item() == pytest.approx(oracle.pvalue, rel=1e-5)
    assert torch.equal(p_values, raw_p)
    assert not scores[:, 3].any()
    assert not raw[:, 3].any()


def test_numbers_by_hand():
    """[1, 2, 3, 4] against [2, 4, 6, 8]: means 2.5 and 5, pooled variance 25 / 6."""
    values, tags = torch.tensor([1.0, 2, 3, 4, 2, 4, 6, 8])[:, None], torch.tensor([0] * 4 + [1] * 4)
    assert MeanDifference()(values, tags, 2).flatten().tolist() == pytest.approx([-(1.5**0.5), 1.5**0.5])
    assert MeanDifference(standardised=False)(values, tags, 2).flatten().tolist() == [-2.5, 2.5]


def test_one_word_of_a_tag_is_enough():
    values, tags = awkward()
    tags[[5, 80]] = 0
    x = values[:, 1].numpy()
    oracle = ttest_ind(x[tags == 3], x[tags != 3])
    scores, p_values = MeanDifference().test(values, tags, 4)
    assert scores[3, 1].item() == pytest.approx(oracle.statistic * (1 + 1 / 299) ** 0.5)
    assert p_values[3, 1].item() == pytest.approx(oracle.pvalue)


def test_the_raw_difference_of_a_perfect_neuron_is_finite_and_has_a_p_value():
    """The standardised difference is infinite and raises."""
    tags = torch.tensor([0, 1, 1, 0, 1, 2])
    values = torch.stack([torch.arange(6.0), (tags == 1) * 0.5 + 7], dim=1)
    scores, p_values = MeanDifference(standardised=False).test(values, tags, 3)
    assert scores[1, 1] == 0.5
    assert p_values[1, 1] == pytest.approx(0, abs=1e-20)
    assert p_values[0, 1].item() == pytest.approx(ttest_ind(values[tags == 0, 1], values[tags != 0, 1]).pvalue)
    with pytest.raises(ValueError, match="column 1 does not vary within tag 1 nor within the rest"):
        MeanDifference().test(values, tags, 3)


def test_two_words_have_no_p_value():
    values, tags = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
    assert MeanDifference(standardised=False)(values, tags, 2).flatten().tolist() == [-1, 1]
    with pytest.raises(ValueError, match="needs at least 3 words, got 2"):
        MeanDifference(standardised=False).test(values, tags, 2)
