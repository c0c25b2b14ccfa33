"""Welch's t against scipy."""

from __future__ import annotations

import pytest
import torch
from awkward_words import awkward
from scipy.stats import t as student
from scipy.stats import ttest_ind

from keyneurons.selection.methods.welch_t import WelchT
from keyneurons.selection.scorer import ColumnError, TagError


def test_numbers_of_methods_md():
    values, tags = torch.tensor([1.0, 2, 3, 4, 2, 4, 6, 8])[:, None], torch.tensor([0] * 4 + [1] * 4)
    scores, p_values = WelchT().test(values, tags, 2)
    assert scores.flatten().tolist() == pytest.approx([-1.7320508, 1.7320508])
    assert p_values.flatten().tolist() == pytest.approx([0.1515805] * 2, abs=1e-7)


def test_magnitudes_ignore_sign_changes():
    """METHODS.md: -3 +- .1 against +3 +- .1 gives t = -73.5, and 0 with magnitudes."""
    values = torch.tensor([-3.1, -3.0, -2.9, 2.9, 3.0, 3.1])[:, None].double()
    tags = torch.tensor([0, 0, 0, 1, 1, 1])
    assert WelchT()(values, tags, 2)[0, 0].item() == pytest.approx(-73.5, abs=0.05)
    assert WelchT(magnitude=True)(values, tags, 2)[0, 0].item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_equals_scipy(dtype, magnitude):
    values, tags = awkward(dtype)
    scores, p_values = WelchT(magnitude).test(values, tags, 4)
    for tag in range(4):
        for neuron in (0, 1, 2, 4, 5, 6, 7):
            x = values[:, neuron].double().numpy()
            x = abs(x) if magnitude else x
            oracle = ttest_ind(x[tags == tag], x[tags != tag], equal_var=False)
            assert scores[tag, neuron].item() == pytest.approx(oracle.statistic, rel=1e-5, abs=1e-6)
            assert p_values[tag, neuron].item() == pytest.approx(oracle.pvalue, rel=1e-5)
    assert scores[:, 3].tolist() == [0.0] * 4
    assert p_values[:, 3].tolist() == [1.0] * 4


def test_a_tag_of_one_word_is_rejected():
    values, tags = awkward()
    tags[[5, 80]] = 0
    with pytest.raises(
        TagError, match="tag 3 needs at least 2 words with it and 2 without for a variance, got 1 of 300"
    ):
        WelchT()(values, tags, 4)


def test_an_infinite_score_is_rejected():
    tags = torch.tensor([0, 1, 1, 0, 1, 0])
    values = torch.stack([torch.arange(6.0), (tags == 1) * 0.3 + 7], dim=1)
    with pytest.raises(ColumnError, match="column 1 does not vary within tag 0 nor within the rest"):
        WelchT()(values, tags, 2)


def test_the_rest_needs_two_words():
    values, _ = awkward()
    for rest in (1, 2):
        tags = (torch.arange(300) < rest).long()
        if rest == 1:
            with pytest.raises(TagError, match="tag 0 needs at least 2 words with it and 2 without .* got 299 of 300"):
                WelchT()(values, tags, 2)
        else:
            oracle = ttest_ind(values[:2, 1], values[2:, 1], equal_var=False)
            scores, p_values = WelchT().test(values, tags, 2)
            assert scores[1, 1].item() == pytest.approx(oracle.statistic)
            assert p_values[1, 1].item() == pytest.approx(oracle.pvalue)


def test_a_tag_without_variance_is_scored_if_the_rest_varies():
    values = torch.tensor([1.0, 1.0, 1.0, 2.0, 3.0, 7.0])[:, None]
    tags = torch.tensor([0, 0, 0, 1, 1, 1])
    scores, p_values = WelchT().test(values, tags, 2)
    mean, error = 4.0, (7.0 / 3) ** 0.5  # the rest is 2, 3 and 7, with variance 7
    assert scores[0, 0].item() == pytest.approx((1 - mean) / error)
    assert p_values[0, 0].item() == pytest.approx(2 * student.sf((mean - 1) / error, 2))
