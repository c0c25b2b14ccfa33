"""Correlation against scipy, and its properties."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import pearsonr, pointbiserialr

from keyneurons.selection.methods.correlation import Correlation


def noise(words: int, neurons: int, n_tags: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(words, neurons, generator=generator)
    return values, torch.randint(n_tags, (words,), generator=generator)


def test_number_of_methods_md():
    values, tags = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1, 1])
    scores, p_values = Correlation().test(values, tags, 2)
    torch.testing.assert_close(scores, torch.tensor([[-0.894427], [0.894427]]).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(p_values, torch.full((2, 1), 0.105573).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_equals_scipy(dtype):
    values, tags = noise(200, 7, 3)
    values[:, 3] += (tags == 1) * 5  # p near 1e-80 there
    values = values.to(dtype)
    scores, p_values = Correlation().test(values, tags, 3)
    for tag in range(3):
        for neuron in range(7):
            oracle = pointbiserialr((tags == tag).numpy(), values[:, neuron].double().numpy())
            assert scores[tag, neuron].item() == pytest.approx(oracle.statistic, rel=1e-6, abs=1e-7)
            assert p_values[tag, neuron].item() == pytest.approx(oracle.pvalue, rel=1e-5)
    assert p_values.min() < 1e-40


def test_float16_sums_do_not_overflow():
    """100,000 values near 3 sum beyond float16; a large mean breaks one-pass variances."""
    values, tags = noise(100_000, 2, 2)
    half = (3 + values * 0.05 + torch.tensor([0.0, 0.05]) * tags[:, None]).half()
    assert half.sum(dim=0).isinf().all()
    scores = Correlation()(half, tags, 2)
    for neuron in range(2):
        oracle = pearsonr(half[:, neuron].double().numpy(), tags.numpy()).statistic
        assert scores[1, neuron].item() == pytest.approx(oracle, rel=1e-9)
    assert scores[1, 1] > 0.4


def test_constant_neuron_scores_zero():
    values, tags = noise(50, 3, 2)
    values[:, 1] = 0.1  # not exact in binary
    scores, p_values = Correlation().test(values, tags, 2)
    assert scores[:, 1].tolist() == [0.0, 0.0]
    assert p_values[:, 1].tolist() == [1.0, 1.0]
    assert scores[:, 0].all()


def test_null_maximum_is_as_expected():
    """METHODS.md: under the null the largest |r| of 2,000 words over 768 neurons is about .072."""
    scores = Correlation()(*noise(2000, 30 * 768, 2), 2)[0].abs()
    assert scores.sort(descending=True).values[30].item() == pytest.approx(0.072, abs=0.004)


def test_rare_and_one_word_tags():
    values, _ = noise(40, 2, 2)
    tags = torch.zeros(40, dtype=torch.long)
    tags[7] = 1
    scores, p_values = Correlation().test(values, tags, 2)
    oracle = pearsonr(values[:, 0].double(), (tags == 1).double())
    assert scores[1, 0].item() == pytest.approx(oracle.statistic)
    assert p_values[1, 0].item() == pytest.approx(oracle.pvalue)


def test_perfect_neuron_scores_exactly_one():
    tags = torch.tensor([0, 1, 1, 0, 1, 2])
    values = torch.stack([(tags == 1).float() * 0.3 + 7, -(tags == 1).float()], dim=1)
    scores = Correlation()(values, tags, 3)
    torch.testing.assert_close(scores[1], torch.tensor([1.0, -1.0]).double(), atol=1e-14, rtol=0)
    assert scores.abs().max() <= 1


def test_input_is_unchanged():
    values, tags = noise(30, 4, 2)
    values = values.double()
    before = values.clone(), tags.clone()
    Correlation().test(values, tags, 2)
    assert torch.equal(values, before[0])
    assert torch.equal(tags, before[1])


def test_two_words_have_no_p_value():
    with pytest.raises(ValueError, match="needs at least 3 words, got 2"):
        Correlation().test(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]), 2)
