"""The greedy Gaussian probe against a direct loop with scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy, multivariate_normal

from keyneurons.selection.methods.gaussian_probe import GaussianProbe, held_out_words
from keyneurons.selection.solvers.gaussian import denominator, with_prior


def marked(words: int = 400, neurons: int = 7, n_tags: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated neurons of different scale; some differ on a tag in mean, some in variance."""
    generator = torch.Generator().manual_seed(seed)
    tags = torch.randint(n_tags, (words,), generator=generator)
    values = torch.randn(words, neurons, generator=generator, dtype=torch.float64)
    values = values @ (torch.eye(neurons) + 0.4 * torch.randn(neurons, neurons, generator=generator)).double()
    values[:, 0] += 1.5 * (tags == 0)
    values[:, 1] *= 1 + 2 * (tags == 1)
    values[:, 2] -= tags
    return values * 10.0 ** torch.linspace(-1, 1, neurons) + 5, tags


def crossed(words: int = 2000) -> tuple[torch.Tensor, torch.Tensor]:
    """Neuron 1 is weakly informative, 3 only with 1: their correlation flips with the tag."""
    generator = torch.Generator().manual_seed(3)
    tags = torch.randint(2, (words,), generator=generator)
    values = torch.randn(words, 5, generator=generator)
    values[:, 3] = 0.1 * values[:, 3] + torch.where(tags == 1, 1, -1) * values[:, 1]
    values[:, 1] += 0.5 * tags
    return values, tags


def oracle_bits(x: np.ndarray, hit: np.ndarray, held: np.ndarray, chosen: list[int]) -> float:
    """Information of a set of neurons by the formulas of the paper."""
    joint = []
    for side in (hit, ~hit):
        fitted = x[side & ~held][:, chosen]
        n, d = fitted.shape
        log_density = np.zeros(held.sum())
        if d:
            ml = np.cov(fitted.T, bias=True).reshape(d, d)
            sigma = (np.diag(np.diag(ml)) + n * ml) / ((d + 2) + n + d + 2)
            log_density = multivariate_normal(fitted.mean(axis=0), sigma).logpdf(x[held][:, chosen])
        joint.append(np.log(n) + log_density)
    log_posterior = np.where(hit[held], *joint) - np.logaddexp(*joint)
    frequency = hit[held].mean()
    return entropy([frequency, 1 - frequency], base=2) + log_posterior.mean() / np.log(2)


def oracle(values: torch.Tensor, tags: torch.Tensor, tag: int, n_neurons: int) -> np.ndarray:
    """Scores of one tag, by trying every neuron."""
    x, hit, held = values.double().numpy(), (tags == tag).numpy(), held_out_words(len(tags), 0.25).numpy()
    chosen, bits = [], [oracle_bits(x, hit, held, [])]
    while len(chosen) < n_neurons:
        candidates = {j: oracle_bits(x, hit, held, [*chosen, j]) for j in range(x.shape[1]) if j not in chosen}
        best = max(candidates, key=candidates.__getitem__)
        if candidates[best] <= bits[-1]:
            break
        chosen.append(best)
        bits.append(candidates[best])
    scores = np.zeros(x.shape[1])
    scores[chosen] = bits[-1] - np.array(bits[:-1])
    return scores


@pytest.mark.parametrize("n_neurons", [1, 3, 7])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_equals_a_direct_loop(n_neurons, dtype):
    values, tags = marked()
    values = values.to(dtype)
    scores = GaussianProbe(n_neurons)(values, tags, 3)
    for tag in range(3):
        np.testing.assert_allclose(scores[tag], oracle(values, tags, tag, n_neurons), rtol=1e-7, atol=1e-10)


def test_result_does_not_depend_on_the_block_size(monkeypatch):
    values, tags = marked()
    whole = GaussianProbe(4)(values, tags, 3)
    monkeypatch.setattr("keyneurons.selection.solvers.gaussian.VALUES_AT_ONCE", 30)
    torch.testing.assert_close(GaussianProbe(4)(values, tags, 3), whole, rtol=1e-9, atol=1e-12)


def test_number_of_methods_md():
    """One neuron, 100 words, variance 1: 101/106."""
    square = with_prior(torch.tensor([100.0]), 100) / denominator(100, 1)
    assert square.item() == pytest.approx(0.952830, abs=1e-6)


def test_selection_stops_when_no_neuron_adds_information():
    values, tags = marked(neurons=7)
    chosen = (GaussianProbe(7)(values, tags, 3) > 0).sum(dim=1)
    assert (chosen > 0).all()
    assert (chosen < 7).any()


def test_neurons_that_are_only_jointly_informative_are_selected():
    values, tags = crossed()
    scores = GaussianProbe(2)(values, tags, 2)[1]
    assert scores.nonzero().flatten().tolist() == [1, 3]
    assert scores[1] > scores[3] > 0.5
    alone = GaussianProbe(2)(values[:, [0, 2, 3, 4]], tags, 2)[1]
    assert alone.max() < 0.02
    assert GaussianProbe(1)(values, tags, 2)[1, 1] < 0.1


def test_a_copy_adds_nothing_and_the_lower_neuron_is_selected():
    values, tags = marked()
    scores = GaussianProbe(1)(values, tags, 3)
    twice = GaussianProbe(1)(torch.cat([values, values * 3 - 1], dim=1), tags, 3)
    torch.testing.assert_close(twice[:, :7], scores, rtol=1e-9, atol=1e-12)
    assert not twice[:, 7:].any()


def test_invariant_to_shift_and_scale():
    values, tags = marked()
    changed = GaussianProbe(4)(values * torch.linspace(-3, 5, 7) + 1000, tags, 3)
    torch.testing.assert_close(changed, GaussianProbe(4)(values, tags, 3), rtol=1e-6, atol=1e-9)


def test_constant_neurons_score_zero():
    """Includes a neuron that is constant over a tag's fitted words and would mark it perfectly."""
    values, tags = marked()
    values[:, 3] = 0.1
    assert GaussianProbe(7)(values, tags, 3)[0, 4] != 0
    values[tags == 0, 4] = 0.7
    scores = GaussianProbe(7)(values, tags, 3)
    assert scores.isfinite().all()
    assert not scores[:, 3].any()
    assert scores[0, 4] == 0
    assert scores[1:, 4].any()


def test_only_constant_neurons():
    _, tags = marked()
    assert not GaussianProbe(2)(torch.full((400, 2), 0.1), tags, 3).any()


@pytest.mark.parametrize(
    ("words", "share", "size", "every"),
    [(4000, 0.25, 100, 4), (1000, 0.25, 50, 4), (400, 0.25, 20, 4), (19, 0.25, 1, 4), (5000, 0.1, 100, 10)],
)
def test_blocks_are_held_out_periodically(words, share, size, every):
    expected = [word // size % every == every - 1 for word in range(words)]
    assert held_out_words(words, share).tolist() == expected


def test_input_is_unchanged():
    values, tags = marked()
    before = values.clone(), tags.clone()
    GaussianProbe(3)(values, tags, 3)
    assert torch.equal(values, before[0])
    assert torch.equal(tags, before[1])


@pytest.mark.parametrize(
    ("words", "got"), [([0, 1, 2], "3 and 0"), ([0, 60, 62], "1 and 2"), ([60, 61, 62], "0 and 3")]
)
def test_tag_with_too_few_words_in_one_part_is_named(words, got):
    values, _ = marked()
    tags = torch.zeros(400, dtype=torch.long)
    tags[words] = 1
    with pytest.raises(ValueError, match=f"tag 1 needs at least 2 fitted and 1 held-out words, got {got}"):
        GaussianProbe(2)(values, tags, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_neurons": 0}, "n_neurons must be at least 1, got 0"),
        ({"n_neurons": 1, "held_out": 0.0}, r"held_out must be above 0 and at most 0.5, got 0.0"),
        ({"n_neurons": 1, "held_out": 0.6}, r"held_out must be above 0 and at most 0.5, got 0.6"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        GaussianProbe(**options)


def test_more_neurons_than_available():
    with pytest.raises(ValueError, match=r"n_neurons must lie in 1\.\.7 \(the neurons\), got 8"):
        GaussianProbe(8)(*marked(), 3)
