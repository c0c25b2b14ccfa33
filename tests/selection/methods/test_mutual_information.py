"""Mutual information against scikit-learn, scipy and METHODS.md."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency
from sklearn.metrics import mutual_info_score

from keyneurons.selection.methods.mutual_information import MutualInformation, equal_frequency_bins


def relu_like(words: int, neurons: int, n_tags: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Half of the values are exactly 0; the others carry some information about the tag."""
    generator = torch.Generator().manual_seed(seed)
    tags = torch.randint(n_tags, (words,), generator=generator)
    values = torch.randn(words, neurons, generator=generator) + 0.3 * tags[:, None] / n_tags
    return values.clamp(min=0), tags


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("bins", [2, 10, 16])
def test_equals_scikit_learn_on_the_binned_data(dtype, bins):
    values, tags = relu_like(501, 5, 4)
    values = values.to(dtype)
    binned = equal_frequency_bins(values, bins)
    scores = MutualInformation(bins=bins)(values, tags, 4)
    for tag in range(4):
        for neuron in range(5):
            oracle = mutual_info_score(binned[:, neuron].numpy(), (tags == tag).numpy()) / math.log(2)
            assert scores[tag, neuron].item() == pytest.approx(oracle, rel=1e-10, abs=1e-15)


def test_p_value_is_the_g_test():
    values, tags = relu_like(400, 3, 3)
    binned = equal_frequency_bins(values, 16)
    p_values = MutualInformation().test(values, tags, 3)[1]
    for neuron in range(3):
        table = [
            [((binned[:, neuron] == b) & ((tags == 1) == y)).sum().item() for b in binned[:, neuron].unique()]
            for y in (False, True)
        ]
        oracle = chi2_contingency(np.array(table), correction=False, lambda_="log-likelihood")
        assert p_values[1, neuron].item() == pytest.approx(oracle.pvalue, rel=1e-9)


def test_p_values_are_uniform_under_the_null():
    generator = torch.Generator().manual_seed(1)
    values, tags = torch.randn(2000, 500, generator=generator), torch.randint(2, (2000,), generator=generator)
    p_values = MutualInformation().test(values, tags, 2)[1][0]
    assert (p_values < 0.05).double().mean().item() == pytest.approx(0.05, abs=0.03)
    assert p_values.mean().item() == pytest.approx(0.5, abs=0.05)


def test_independent_neurons_have_the_known_bias():
    """METHODS.md: 10 bins, N=1000: .0045 nats in theory, about .00459 in practice."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(1000, 2000, generator=generator)
    tags = torch.arange(1000) % 2
    plain = MutualInformation(bins=10)(values, tags, 2)[0] * math.log(2)
    assert plain.mean().item() == pytest.approx(0.0045, abs=0.0002)
    corrected = MutualInformation(bins=10, miller_madow=True)(values, tags, 2)[0] * math.log(2)
    torch.testing.assert_close(corrected, (plain - 0.0045).clamp(min=0))


def test_disjoint_balanced_clusters_have_one_bit():
    tags = torch.arange(1600) % 2
    values = (tags * 100 + torch.rand(1600, generator=torch.Generator().manual_seed(0)))[:, None]
    torch.testing.assert_close(MutualInformation()(values, tags, 2), torch.ones(2, 1).double())


def test_gaussians_one_apart():
    """METHODS.md: .160747 bits is the true value; 64 bins of 200,000 words have a small error."""
    tags = torch.arange(200_000) % 2
    values = (torch.randn(200_000, generator=torch.Generator().manual_seed(0)) + tags)[:, None]
    score = MutualInformation(bins=64, miller_madow=True)(values, tags, 2)[0, 0].item()
    assert score == pytest.approx(0.160747, abs=0.003)


def test_bins_are_equal_and_never_separate_equal_values():
    values, _ = relu_like(1600, 20, 2)
    distinct = torch.randn(1600, 20, generator=torch.Generator().manual_seed(3))
    assert torch.bincount(equal_frequency_bins(distinct, 16)[:, 0]).tolist() == [100] * 16
    for binned, column in zip(equal_frequency_bins(values, 16).T, values.T, strict=True):
        assert all(len(binned[column == value].unique()) == 1 for value in column.unique())
        assert (binned[column.argsort()].diff() >= 0).all()
    assert equal_frequency_bins(torch.tensor([[0.0], [-0.0], [1.0], [2.0]]), 4)[:, 0].tolist() == [0, 0, 2, 3]


def test_invariant_to_monotone_transformations():
    values, tags = relu_like(300, 4, 3)
    scores = MutualInformation()(values, tags, 3)
    assert torch.equal(scores, MutualInformation()(values.exp() * 1000 - 5, tags, 3))
    torch.testing.assert_close(
        MutualInformation(bins=300)(-values, tags, 3), MutualInformation(bins=300)(values, tags, 3)
    )


def test_constant_neuron_scores_zero():
    values, tags = relu_like(50, 3, 2)
    values[:, 1] = 0.1
    for miller_madow in (False, True):
        scores, p_values = MutualInformation(miller_madow=miller_madow).test(values, tags, 2)
        assert scores[:, 1].tolist() == [0.0, 0.0]
        assert p_values[:, 1].tolist() == [1.0, 1.0]


def test_input_is_unchanged():
    values, tags = relu_like(30, 4, 2)
    before = values.clone(), tags.clone()
    MutualInformation().test(values, tags, 2)
    assert torch.equal(values, before[0])
    assert torch.equal(tags, before[1])


def test_a_tag_of_one_word_and_more_bins_than_words():
    values, _ = relu_like(40, 3, 2)
    tags = torch.zeros(40, dtype=torch.long)
    tags[7] = 1
    for bins in (16, 100):
        scores, p_values = MutualInformation(bins=bins).test(values, tags, 2)
        binned = equal_frequency_bins(values, bins)
        for neuron in range(3):
            oracle = mutual_info_score(binned[:, neuron].numpy(), tags.numpy()) / math.log(2)
            assert scores[:, neuron].tolist() == pytest.approx([oracle, oracle], rel=1e-9)
        assert ((p_values >= 0) & (p_values <= 1)).all()


def test_one_bin_is_rejected():
    with pytest.raises(ValueError, match="bins must be at least 2, got 1"):
        MutualInformation(bins=1)
