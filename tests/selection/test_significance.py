"""Thresholds over neurons and tags, and the bounds on p-values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import false_discovery_control

from keyneurons.analysis.resampling import permuted_tags
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.moments import moments_of
from keyneurons.selection.scoring import Driver
from keyneurons.selection.shift import shift_bounds
from keyneurons.selection.significance import max_statistic_p_values, survivors


def p_of(seed: int = 1) -> torch.Tensor:
    """Adjusted p-values of 6 tags: three with strong signal, one with weak signal, two without."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(size=(6, 200))
    p[:3, :100] **= 12
    p[3, 0] = 1e-4
    return torch.from_numpy(false_discovery_control(p, axis=1))


def test_survivors_by_hand():
    adjusted = p_of()
    smallest = adjusted.amin(dim=1).numpy()
    counts = false_discovery_control(smallest) <= 0.05
    assert counts.tolist() == [True, True, True, True, False, False]
    expected = (adjusted.numpy() <= 0.05 * 4 / 6) & counts[:, None]
    assert survivors(adjusted, 0.05).numpy().tolist() == expected.tolist()


def test_each_tag_is_tested_at_alpha_if_all_are_significant():
    adjusted = p_of()[:3]
    assert torch.equal(survivors(adjusted, 0.05), adjusted <= 0.05)


def test_a_single_significant_tag_is_corrected_for_the_others():
    adjusted = torch.tensor([[0.03, 0.9], [0.8, 0.9], [0.7, 0.9]])
    assert not survivors(adjusted, 0.05).any()
    assert survivors(adjusted[:1], 0.05).tolist() == [[True, False]]


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_alpha_out_of_range(alpha):
    with pytest.raises(ValueError, match="alpha must lie between 0 and 1"):
        survivors(p_of(), alpha)


def test_max_statistic_by_a_direct_loop_with_ties():
    rng = np.random.default_rng(0)
    scores, null = torch.from_numpy(rng.integers(-4, 5, (3, 20)) / 4), torch.from_numpy(rng.integers(1, 5, (30, 3)) / 4)
    result = max_statistic_p_values(scores, null)
    for tag, neuron in itertools.product(range(3), range(20)):
        as_strong = sum(float(maximum) >= abs(float(scores[tag, neuron])) for maximum in null[:, tag])
        assert result[tag, neuron].item() == (1 + as_strong) / 31
    with pytest.raises(ValueError, match="at least 1 permutation"):
        max_statistic_p_values(scores, null[:0])


def test_permutations_that_do_not_move_a_tag_tie_despite_rounding():
    """Tag 3 is alone in its sentences, so shuffles within sentences never move it: p = 1."""
    sentences = np.r_[np.repeat(np.arange(20), 10), np.arange(20, 30)]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        values, tags = rng.normal(1, 3, (210, 30)), np.r_[rng.integers(0, 3, 200), np.full(10, 3)]
        driver = Driver({0: values}, np.arange(210), 4, "mlp", "layer")

        def tagging(i: int, tags=tags, rng=rng) -> np.ndarray:
            return permuted_tags(tags, sentences, "within_sentence", rng)

        null = torch.stack(list(driver.maxima(Correlation(), tagging, 50)))
        p_values = max_statistic_p_values(driver.scores(Correlation(), tags).values, null)
        assert p_values[3].min() == 1
        assert p_values[:3].min() < 1


def test_the_bound_exceeds_the_exact_probability():
    """All 1,820 assignments of 4 of 16 words to a tag, for values with and without outliers."""
    rng = np.random.default_rng(0)
    for x in (rng.normal(size=16), rng.normal(size=16) ** 5, np.r_[np.zeros(15), 1.0], rng.exponential(size=16)):
        centred = x - x.mean()
        means = np.array([centred[list(chosen)].mean() for chosen in itertools.combinations(range(16), 4)])
        for chosen in ([0, 1, 2, 3], np.argsort(x)[-4:].tolist(), np.argsort(x)[:4].tolist()):
            tags = torch.zeros(16, dtype=torch.long)
            tags[chosen] = 1
            bound = shift_bounds(moments_of(torch.from_numpy(x)[:, None], tags, 2))
            exact = (np.abs(means) >= abs(centred[chosen].mean()) - 1e-12).mean()
            assert exact <= bound[1, 0] <= 1
            assert bound[0, 0] == pytest.approx(bound[1, 0].item())  # the rest has the same information as the tag


def test_the_bound_equals_its_formula():
    values = torch.tensor([0.0, 1, 2, 3, 4, 5, 6, 27])[:, None].double()
    tags = torch.tensor([1, 1, 1, 0, 0, 0, 0, 0])
    variance, mean = values.var(correction=0).item(), values.mean().item()
    lack, excess = mean - 1, values[3:].mean().item() - mean

    def bennett(n: int, shift: float, reach: float) -> float:
        u = reach * shift / variance
        return float(np.exp(-n * variance / reach**2 * ((1 + u) * np.log1p(u) - u)))

    down = min(bennett(3, lack, mean), bennett(5, excess, 27 - mean))
    up = min(bennett(3, lack, 27 - mean), bennett(5, excess, mean))
    assert shift_bounds(moments_of(values, tags, 2))[1, 0].item() == pytest.approx(min(1, down + up))


def test_an_outlier_in_a_rare_tag_is_not_significant_but_many_words_are():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5000, 2, generator=generator, dtype=torch.float64)
    tags = (torch.arange(5000) < 60).long()
    values[17, 0] = 500
    values[:60, 1] += 1.5
    bounds = shift_bounds(moments_of(values, tags, 2))[1]
    assert bounds[0] > 0.01
    assert bounds[1] < 1e-10


def test_a_constant_neuron_has_a_bound_of_one():
    tags = torch.tensor([0, 1, 1, 0])
    assert shift_bounds(moments_of(torch.full((4, 1), 0.1), tags, 2)).tolist() == [[1.0], [1.0]]
