"""Intraclass correlations, sums by sentence and design effects against direct loops and draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from keyneurons.selection.clusters import intraclass_correlations
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.frequency import Frequency
from keyneurons.selection.methods.mutual_information import MutualInformation
from keyneurons.selection.moments import Moments, MomentSums, moments_of
from keyneurons.selection.scoring import Driver
from keyneurons.selection.shift import shift_bounds
from keyneurons.selection.stream import Stream
from keyneurons.selection.views import VALUE

SENTENCES = np.repeat([3, 4, 7, 8, 20, 21], [5, 1, 9, 2, 4, 12])
N = len(SENTENCES)
TAGS = np.random.default_rng(1).integers(3, size=N)


def values(seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(N, 4)) + 3 * rng.normal(size=(30, 4))[SENTENCES] + 50)


def test_intraclass_correlation_by_all_pairs():
    pairs = [(a, b) for a, b in itertools.permutations(range(N), 2) if SENTENCES[a] == SENTENCES[b]]
    result = intraclass_correlations(torch.from_numpy(TAGS), torch.from_numpy(SENTENCES), 3)
    for tag in range(3):
        y = (tag == TAGS) - (tag == TAGS).mean()
        by_hand = np.mean([y[a] * y[b] for a, b in pairs]) / np.mean(y**2)
        assert result[tag].item() == pytest.approx(by_hand)


def test_intraclass_correlation_of_whole_sentences_and_of_single_words():
    whole = torch.from_numpy(np.isin(SENTENCES, [3, 7, 20]).astype(int))
    assert intraclass_correlations(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 1]), 2).tolist() == [1, 1]
    assert intraclass_correlations(whole, torch.from_numpy(SENTENCES), 2).min() > 0.9
    assert intraclass_correlations(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2]), 2).tolist() == [0, 0]


@pytest.mark.parametrize("batches", [[N], [1] * N, [3, 3, 9, 1, N - 16]])
def test_squared_sentence_sums_do_not_depend_on_the_batches(batches):
    x, sums = values(), MomentSums(VALUE, [3])
    places = zip(np.cumsum([0, *batches[:-1]]), np.cumsum(batches), strict=True)
    for first, last in places:
        sums.add(x[first:last], torch.from_numpy(TAGS)[None, first:last], torch.from_numpy(SENTENCES[first:last]))
    [moments] = sums.result(torch.from_numpy(TAGS)[None])
    centred = (x - x.mean(dim=0)).numpy()
    by_hand = sum(centred[s == SENTENCES].sum(axis=0) ** 2 for s in np.unique(SENTENCES))
    np.testing.assert_allclose(moments.sentence_squares, by_hand, rtol=1e-9)


def test_the_design_effect_is_the_ratio_of_variances():
    """Tags with sentence effects: the variance of their sum over draws against a binomial's."""
    rng = np.random.default_rng(0)
    sentences = np.repeat(np.arange(60), rng.integers(3, 12, 60))
    x = rng.normal(size=(len(sentences), 3)) + rng.normal(size=(60, 3))[sentences] * [0, 1, 3]
    centred = x - x.mean(axis=0)
    sums, correlations = [], []
    for _ in range(4000):
        y = (rng.random(len(sentences)) < rng.beta(1, 3, 60)[sentences]).astype(int)  # ICC 1 / (1 + 4)
        sums.append(centred.T @ y)
        correlations.append(intraclass_correlations(torch.from_numpy(y), torch.from_numpy(sentences), 2)[1].item())
    assert np.mean(correlations) == pytest.approx(0.2, abs=0.02)
    expected = np.var(sums, axis=0) / ((centred**2).sum(axis=0) * 0.25 * 0.75)
    moments = moments_of(torch.from_numpy(x), torch.from_numpy(y), 2, sentences=torch.from_numpy(sentences))
    ours = moments.design_effects(torch.tensor([0.2, 0.2]))
    np.testing.assert_allclose(ours[1], expected, rtol=0.06)
    assert expected[2] > 2
    assert (moments.design_effects(torch.tensor([-0.5, 0.0])) == 1).all()


def test_repeated_words_of_whole_sentences_are_no_evidence():
    """Each sentence one word, or that word ten times: the bound is the same."""
    rng = np.random.default_rng(0)
    x, tags = torch.from_numpy(rng.exponential(size=(80, 5))), torch.from_numpy((rng.random(80) < 0.3).astype(int))
    x[:, 0] += 3 * tags
    sentences = torch.arange(80).repeat_interleave(10)
    many = x.repeat_interleave(10, dim=0), tags.repeat_interleave(10)
    moments = moments_of(*many, 2, sentences=sentences)
    robust = Correlation().robust_p_values(
        moments, moments.design_effects(intraclass_correlations(many[1], sentences, 2))
    )
    alone = shift_bounds(moments_of(x, tags, 2))
    assert robust[:, 0].max() < 0.01
    torch.testing.assert_close(robust.log()[:, 0], alone.log()[:, 0], rtol=0.1, atol=0)
    assert (shift_bounds(moments)[:, 0] < alone[:, 0] ** 5).all()  # sanity: words as independent


def test_stored_and_streamed_values_have_the_same_robust_p_values():
    x = values()
    stored = Driver({0: x.numpy()[:, :2], 1: x.numpy()[:, 2:]}, np.arange(N), 3, "mlp", "layer", sentences=SENTENCES)
    longest_first = [np.flatnonzero(s == SENTENCES) for s in (21, 7, 3, 20, 8, 4)]
    order = np.concatenate(longest_first)

    def chunks():
        for some in np.split(order, [7, 20, 30]):
            yield some, {0: x[some][:, :2], 1: x[some][:, 2:]}

    streamed = Stream(chunks, "mlp", (0, 1), 2, 3, 2**24, SENTENCES)
    one, other = (Correlation().scores(source, TAGS).p_robust for source in (stored, streamed))
    torch.testing.assert_close(one, other)
    unclustered = Driver(stored.arrays, np.arange(N), 3, "mlp", "layer")
    assert (one >= Correlation().scores(unclustered, TAGS).p_robust).all()


@pytest.mark.parametrize(
    "scorer", [Frequency(0.3), Frequency(0.3, test_by="fisher"), MutualInformation(bins=3)], ids=repr
)
def test_methods_with_their_own_test_are_corrected_too(scorer):
    x = values()
    tags = np.isin(SENTENCES, [3, 7]).astype(int)
    clustered = Driver({0: x.numpy()}, np.arange(N), 2, "mlp", "layer", sentences=SENTENCES).scores(scorer, tags)
    independent = Driver({0: x.numpy()}, np.arange(N), 2, "mlp", "layer").scores(scorer, tags)
    assert torch.equal(clustered.p_values, independent.p_values)
    assert torch.equal(independent.p_robust, independent.p_values)
    assert (clustered.p_robust >= clustered.p_values).all()
    assert (clustered.p_robust > clustered.p_values).any()


def test_the_test_of_all_tags_keeps_one_p_value_for_all_tags():
    x = values()
    result = Driver({0: x.numpy()}, np.arange(N), 3, "mlp", "layer", sentences=SENTENCES).scores(Frequency(0.3), TAGS)
    assert (result.p_robust == result.p_robust[0]).all()


def test_constant_neurons_and_unknown_sentences_have_no_design_effect():
    tags = torch.from_numpy(TAGS)
    flat = moments_of(torch.full((N, 2), 0.1), tags, 3, sentences=torch.from_numpy(SENTENCES))
    assert (flat.design_effects(torch.ones(3)) == 1).all()
    unknown = moments_of(values(), tags, 3)
    assert (unknown.design_effects(torch.ones(3)) == 1).all()
    assert Moments.concatenate([unknown, unknown]).sentence_squares is None
