"""Frequencies and their tests against scipy, METHODS.md and null simulations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom, chi2_contingency, fisher_exact
from scipy.stats.contingency import association

from keyneurons.records import NeuronSets
from keyneurons.selection.methods.frequency import Frequency, MeanAttribution
from keyneurons.selection.rules import Rule, select
from keyneurons.selection.scoring import Driver
from keyneurons.selection.significance import benjamini_hochberg, survivors

TESTS = ("chi_squared", "fisher")


def attributions(kept: torch.Tensor) -> torch.Tensor:
    """Attributions of which ``share=.5`` keeps exactly these neurons; as many others are 0."""
    return torch.cat([kept.float(), torch.zeros(kept.shape)], dim=1)


def of_table(kept: list[int], words: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Attributions of one neuron with the given kept counts per tag, and the tags."""
    tags = torch.arange(len(words)).repeat_interleave(torch.tensor(words))
    ones = [torch.arange(n) < k for k, n in zip(kept, words, strict=True)]
    return attributions(torch.cat(ones)[:, None]), tags


def noise(neurons: int = 25, seed: int = 0, sizes: tuple[int, ...] = (60, 30, 9)) -> tuple[torch.Tensor, torch.Tensor]:
    """Neurons 0 to 3 are kept always, never, once, and all but once; tag 1 keeps 4 more often."""
    generator = torch.Generator().manual_seed(seed)
    tags = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    kept = torch.rand(len(tags), neurons, generator=generator) < torch.linspace(0.02, 0.98, neurons)
    kept[:, :4] = torch.tensor([True, False, False, True])
    kept[5, 2], kept[70, 3] = True, False
    kept[:, 4] |= tags == 1
    return attributions(kept), tags


def tables(values: torch.Tensor, tags: torch.Tensor) -> list[np.ndarray]:
    """Contingency table of every neuron: kept and not kept by tag."""
    n_tags = int(tags.max()) + 1
    kept = [[[((values[:, n] > 0) == yes)[tags == t].sum().item() for t in range(n_tags)] for yes in (True, False)]
            for n in range(values.shape[1])]  # fmt: skip
    return [np.array(table) for table in kept]


@pytest.mark.parametrize(
    ("kept", "words", "statistic", "p"),
    [([80, 10, 10, 10], [100] * 4, 184.326, 1.03e-39), ([80, 30], [100, 300], 184.326, 5.5e-42)],
)
def test_numbers_of_methods_md(kept, words, statistic, p):
    values, tags = of_table(kept, words)
    result = Driver({0: values.numpy()}, np.arange(400), len(words), "mlp", "layer").scores(
        Frequency(0.5), tags.numpy()
    )
    assert result.values[:, 0].tolist() == [k / n for k, n in zip(kept, words, strict=True)]
    assert result.effects[0, 0].item() ** 2 * 400 == pytest.approx(statistic, abs=1e-3)
    assert result.p_values[:, 0].tolist() == pytest.approx([p] * len(words), rel=1e-2)
    assert result.p_robust.tolist() == result.p_values.tolist()  # without sentences


@pytest.mark.parametrize("sizes", [(60, 30, 9), (40, 40), (5, 1, 50, 8, 8)])
def test_equals_scipy(sizes):
    values, tags = noise(sizes=sizes)
    n_tags = len(sizes)
    moments = moments_by(values, tags, n_tags)
    chi_squared, fisher = (Frequency(0.5, test_by=test).test_moments(moments)[1] for test in TESTS)
    effects = Frequency(0.5).effects(moments)
    for neuron, table in enumerate(tables(values, tags)):
        if not table.sum(axis=1).all():  # kept always or never
            assert chi_squared[:, neuron].tolist() == fisher[:, neuron].tolist() == [1.0] * n_tags
            assert effects[:, neuron].tolist() == [0.0] * n_tags
            continue
        p = chi2_contingency(table, correction=False).pvalue
        assert chi_squared[:, neuron].tolist() == pytest.approx([p] * n_tags, rel=1e-9)
        assert effects[:, neuron].tolist() == pytest.approx([association(table, "cramer")] * n_tags, rel=1e-9, abs=1e-9)
        for tag in range(n_tags):
            against = np.stack([table[:, tag], table.sum(axis=1) - table[:, tag]], axis=1)
            oracle = fisher_exact(against, alternative="greater").pvalue
            assert fisher[tag, neuron].item() == pytest.approx(oracle, rel=1e-9)
    assert chi_squared.min() < 1e-3
    assert fisher.max() <= 1


def moments_by(values, tags, n_tags):
    return Driver({0: values.numpy()}, np.arange(len(values)), n_tags, "mlp", "layer").moments(
        tags.numpy()[None], [Frequency(0.5).view])[Frequency(0.5).view][0]  # fmt: skip


@pytest.mark.parametrize("signed", [True, False])
def test_scores_are_counts_of_a_direct_loop(signed):
    """Includes ties, and more words than fit one chunk."""
    generator = torch.Generator().manual_seed(0)
    values = (2 * torch.randn(120, 20, generator=generator)).round()
    tags = torch.randint(3, (120,), generator=generator)
    counts = torch.zeros(3, 20)
    for row, tag in zip(values.tolist(), tags.tolist(), strict=True):
        strength = row if signed else [abs(value) for value in row]
        for n in sorted(range(20), key=lambda n: (-strength[n], n))[:3]:
            counts[tag, n] += strength[n] > 0
    expected = counts.double() / torch.bincount(tags)[:, None]
    assert torch.equal(Frequency(0.15, signed=signed)(values, tags, 3), expected)


def test_fisher_is_exact_in_the_far_tail():
    values, tags = of_table([200, 0], [200, 200])
    p = Frequency(0.5, test_by="fisher").test(values, tags, 2)[1]
    assert p[0, 0].item() == pytest.approx(fisher_exact([[200, 0], [0, 200]], alternative="greater").pvalue, rel=1e-9)
    assert 0 < p[0, 0] < 1e-100
    assert p[1, 0] == 1


@pytest.mark.parametrize("test", TESTS)
def test_a_neuron_that_is_always_kept_has_score_1_and_is_not_significant(test):
    values, tags = noise()
    scores, p_values = Frequency(0.5, test_by=test).test(values, tags, 3)
    assert scores[:, :2].T.tolist() == [[1.0] * 3, [0.0] * 3]
    assert p_values[:, :2].T.tolist() == [[1.0] * 3] * 2
    assert not Frequency(0.5, test_by=test, min_cramers_v=0.01)(values, tags, 3)[:, :2].any()


@pytest.mark.parametrize("test", TESTS)
def test_permuting_neurons_permutes_scores(test):
    values, tags = noise()
    names, order = torch.tensor([2, 0, 1]), torch.randperm(50, generator=torch.Generator().manual_seed(1))
    for scorer in (Frequency(0.5, test_by=test), MeanAttribution()):
        assert torch.equal(scorer(values[:, order], names[tags], 3)[names], scorer(values, tags, 3)[:, order])
    scorer = Frequency(0.5, test_by=test)
    p_values, renamed = scorer.test(values, tags, 3)[1], scorer.test(values[:, order], names[tags], 3)[1]
    torch.testing.assert_close(renamed[names], p_values[:, order], rtol=1e-9, atol=0)


def test_neurons_with_weak_effects_are_not_key_neurons():
    values, tags = noise()
    plain = Frequency(0.5)(values, tags, 3)
    v = Frequency(0.5).effects(moments_by(values, tags, 3))
    filtered = Frequency(0.5, min_cramers_v=0.2)(values, tags, 3)
    assert torch.equal(filtered, plain.where(v >= 0.2, 0.0))
    assert filtered[:, 4].any()
    assert 0 < (filtered != 0).sum() < (plain != 0).sum()


@pytest.mark.parametrize("words", [[3, 28], [2, 9], [7, 13, 4], [3, 4, 11, 6, 7]])
def test_cramers_v_of_a_perfect_neuron_is_one(words):
    """Rounding would raise the value for 3 and 28 words above 1."""
    values, tags = of_table([words[0], *[0] * (len(words) - 1)], words)
    v = Frequency(0.5).effects(moments_by(values, tags, len(words)))
    assert v[:, 0].tolist() == pytest.approx([1] * len(words))
    assert v.max() <= 1


@pytest.mark.parametrize("scorer", [Frequency(0.5), Frequency(0.1, signed=False), MeanAttribution()], ids=repr)
def test_input_is_unchanged_and_results_repeat_exactly(scorer):
    values, tags = noise()
    before = values.clone(), tags.clone()
    assert torch.equal(scorer(values, tags, 3), scorer(values, tags, 3))
    assert torch.equal(values, before[0])
    assert torch.equal(tags, before[1])


def test_mean_attribution_is_the_mean():
    values = torch.randn(90, 6, generator=torch.Generator().manual_seed(0))
    values[:, 2] = 0.1  # not exact in binary
    tags = torch.arange(90) % 3
    scores = MeanAttribution()(values, tags, 3)
    for tag in range(3):
        oracle = values[tags == tag].double().mean(dim=0)
        oracle[2] = 0
        torch.testing.assert_close(scores[tag], oracle, rtol=1e-6, atol=1e-6)
    assert (scores < 0).any()


def sparse(seed: int, planted: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """2,000 neurons, each kept for 1 to 10 of 200 words; 4 tags.

    If planted, neuron 17 is kept only for 10 words of tag 2.
    """
    rng = np.random.default_rng(seed)
    often = rng.integers(1, 11, 2000)
    kept = rng.random((200, 2000)).argsort(axis=0).argsort(axis=0) < often
    tags = np.arange(200) // 50
    if planted:
        kept[:, 17] = False
        kept[np.flatnonzero(tags == 2)[:10], 17] = True
    return attributions(torch.from_numpy(kept)), torch.from_numpy(tags)


def key_neurons(scorer: Frequency, values: torch.Tensor, tags: torch.Tensor) -> NeuronSets:
    """Key neurons, selected as the pipeline does."""
    scores = Driver({3: values.numpy()}, np.arange(200), 4, "mlp", "layer").scores(scorer, tags.numpy())
    adjusted = benjamini_hochberg(scores.p_values)
    return select(scores, list("ABCD"), Rule(5, "layer", threshold="fdr"), adjusted)


@pytest.mark.parametrize("test", TESTS)
def test_a_planted_neuron_is_significant(test):
    scorer = Frequency(0.5, test_by=test)
    values, tags = sparse(0, planted=True)
    sets = key_neurons(scorer, values, tags)
    result = {tag: [n.neuron for n in sets.tags[tag]] for tag in sets}
    assert result == {"A": [], "B": [], "C": [17], "D": []}
    neuron = sets.tags["C"][0]
    assert neuron.score == 0.2
    assert neuron.effect == pytest.approx(association(tables(values[:, 17:18], tags)[0], "cramer"))
    assert not key_neurons(scorer, *sparse(0)).union()  # sanity check: it was planted


@pytest.mark.slow
@pytest.mark.parametrize("test", TESTS)
def test_nothing_is_significant_with_shuffled_tags(test):
    """Tags are balanced; chi-squared does not hold its level for rare tags, see below."""
    data_sets, alpha = 50, 0.05
    stood = 0
    for seed in range(data_sets):
        moments = moments_by(*sparse(seed), 4)
        p_values = Frequency(0.5, test_by=test).test_moments(moments)[1]
        stood += bool(survivors(benjamini_hochberg(p_values), alpha).any())
    assert stood <= binom.ppf(0.999, data_sets, alpha)


def test_one_word_of_a_rare_tag_is_significant_by_chi_squared_but_not_by_fisher():
    values, tags = of_table([0, 0, 0, 1], [120, 60, 18, 1])
    chi_squared, fisher = (Frequency(0.5, test_by=test).test(values, tags, 4)[1][3, 0].item() for test in TESTS)
    assert chi_squared < 1e-30
    assert fisher == pytest.approx(1 / 199)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 0.0}, "share must lie between 0 and 1.*, got 0.0"),
        ({"share": 1.0}, "share must lie between 0 and 1.*, got 1.0"),
        ({"min_cramers_v": -0.1}, r"min_cramers_v must lie in 0\.\.1, got -0.1"),
        ({"min_cramers_v": 1.5}, r"min_cramers_v must lie in 0\.\.1, got 1.5"),
    ],
)
def test_options_out_of_range(wrong, message):
    with pytest.raises(ValueError, match=message):
        Frequency(**wrong)


def test_an_unknown_test_is_rejected():
    with pytest.raises((ValueError, TypeError), match="g_test"):  # beartype may reject it first
        Frequency(test_by="g_test")
