"""Scoring from disk equals scoring in memory, for any block size."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from keyneurons.selection.columns import scoring_of
from keyneurons.selection.methods.average_precision import AveragePrecision
from keyneurons.selection.methods.bottom import Bottom
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.f_test import FTest
from keyneurons.selection.methods.frequency import Frequency, MeanAttribution
from keyneurons.selection.methods.l1_probe import L1Probe
from keyneurons.selection.methods.lape import LAPE
from keyneurons.selection.methods.mean_difference import MeanDifference
from keyneurons.selection.methods.mutual_information import MutualInformation
from keyneurons.selection.methods.probeless import Probeless
from keyneurons.selection.methods.random_scores import Random
from keyneurons.selection.methods.welch_t import WelchT
from keyneurons.selection.moment_scorer import BYTES_PER_MOMENT
from keyneurons.selection.rules import Rule, select
from keyneurons.selection.scorer import TagError
from keyneurons.selection.scoring import BYTES_PER_VALUE, Driver
from keyneurons.selection.views import POSITIVE, VALUE, TopShare

WORDS, WIDTH, LAYERS = 700, 97, (2, 5, 9)


@pytest.fixture
def arrays(tmp_path):
    rng = np.random.default_rng(0)
    for layer in LAYERS:
        np.save(tmp_path / f"{layer}.npy", rng.normal(3, 1, (WORDS, WIDTH)).astype(np.float16))
    return {layer: np.load(tmp_path / f"{layer}.npy", mmap_mode="r") for layer in LAYERS}


ROWS = np.flatnonzero(np.arange(WORDS) % 7 != 0)
TAGS = np.random.default_rng(1).integers(0, 4, len(ROWS))


def driver(arrays, scope="layer", **more) -> Driver:
    return Driver(arrays, ROWS, 4, "mlp", scope, **more)


@dataclass
class Recorder:
    """A scorer of whole layers that records its inputs."""

    seen: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, values, tags, n_tags):
        self.seen.append(tuple(values.shape))
        return values[:n_tags].double()


@pytest.mark.parametrize("scorer", [AveragePrecision(), MutualInformation()], ids=repr)
@pytest.mark.parametrize("columns", [2, 5, 16, 31, 96])
def test_scores_do_not_depend_on_the_block_size(arrays, scorer, columns):
    whole = driver(arrays).scores(scorer, TAGS)
    blocks = driver(arrays, budget_bytes=columns * BYTES_PER_VALUE * len(ROWS)).scores(scorer, TAGS)
    assert torch.equal(whole.values, blocks.values)
    if isinstance(scorer, MutualInformation):
        assert torch.equal(whole.p_values, blocks.p_values)


@pytest.mark.parametrize("scorer", [Correlation(), WelchT(magnitude=True), LAPE(), MutualInformation()], ids=repr)
@pytest.mark.parametrize("at_once", [1, 1000, 2**20])
def test_scores_do_not_depend_on_the_number_of_words_at_a_time(arrays, scorer, at_once, monkeypatch):
    monkeypatch.setattr("keyneurons.selection.moments.VALUES_AT_ONCE", at_once)
    side_by_side = torch.from_numpy(np.concatenate([arrays[layer][ROWS] for layer in LAYERS], axis=1))
    result = driver(arrays).scores(scorer, TAGS).values
    torch.testing.assert_close(result, scorer(side_by_side, torch.from_numpy(TAGS), 4), rtol=1e-6, atol=1e-6)


def test_layers_are_concatenated_and_other_rows_are_ignored(arrays):
    scores = driver(arrays, "model").scores(Correlation(), TAGS)
    assert (scores.site, scores.layers, scores.neurons_per_layer) == ("mlp", LAYERS, WIDTH)
    for i, layer in enumerate(LAYERS):
        oracle = np.corrcoef(arrays[layer][ROWS].astype(np.float64).T, TAGS == 2)[-1, :-1]
        np.testing.assert_allclose(scores.values[2, i * WIDTH : (i + 1) * WIDTH], oracle, rtol=1e-6, atol=1e-7)
    assert (scores.p_robust >= scores.p_values * 0.99).all()


def test_methods_by_moments_share_one_read(arrays):
    result = driver(arrays).moments(np.stack([TAGS, TAGS[::-1]]), {VALUE, POSITIVE})
    assert set(result) == {VALUE, POSITIVE}
    for i, tags in enumerate((TAGS, TAGS[::-1])):
        alone = driver(arrays).moments(tags[None].copy(), [POSITIVE])[POSITIVE][0]
        assert torch.equal(result[POSITIVE][i].sums, alone.sums)
        assert torch.equal(result[POSITIVE][i].counts, alone.counts)


def side_by_side(arrays) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([arrays[layer][ROWS] for layer in LAYERS], axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("test_by", ["chi_squared", "fisher"])
@pytest.mark.parametrize("at_once", [1, 1000, 2**20])
def test_top_share_of_all_layers(arrays, at_once, test_by, monkeypatch):
    """Neurons of layer 9 are stronger overall; pieces range from one word to all words."""
    monkeypatch.setattr("keyneurons.selection.moments.VALUES_AT_ONCE", at_once)
    arrays = arrays | {9: arrays[9] + np.float16(0.5)}
    together, apart = (Frequency(0.1, of_all_layers, test_by=test_by) for of_all_layers in (True, False))
    result, tags = driver(arrays).scores(together, TAGS), torch.from_numpy(TAGS)
    scores, p_values = together.test(side_by_side(arrays), tags, 4)
    assert torch.equal(result.values, scores)
    assert torch.equal(result.p_values, p_values)
    by_layer = driver(arrays).scores(apart, TAGS)
    for i, layer in enumerate(LAYERS):
        alone = apart(torch.from_numpy(arrays[layer][ROWS]), tags, 4)
        assert torch.equal(by_layer.values[:, i * WIDTH : (i + 1) * WIDTH], alone)
    shares = [each.values.reshape(4, 3, WIDTH).sum(dim=(0, 2)) for each in (result, by_layer)]
    assert shares[0][2] > 1.5 * shares[0][0]  # so the pool differs
    assert shares[1].tolist() == pytest.approx([4 * round(0.1 * WIDTH)] * 3)


def test_views_of_one_layer_and_of_all_layers_combine(arrays):
    views = [VALUE, TopShare(0.1), TopShare(0.1, of_all_layers=True)]
    result = driver(arrays).moments(TAGS[None], views)
    assert set(result) == set(views)
    for view in views:
        alone = driver(arrays).moments(TAGS[None], [view])[view][0]
        for name in ("counts", "pivot", "sums", "squares", "low", "high"):
            assert torch.equal(getattr(result[view][0], name), getattr(alone, name))
    assert not torch.equal(result[views[1]][0].sums, result[views[2]][0].sums)


def test_scores_include_the_effects_of_the_method(arrays):
    result = driver(arrays).scores(Frequency(0.1), TAGS)
    assert (result.effects.shape, result.effects.dtype, result.p_robust is None) == (
        (4, 3 * WIDTH),
        torch.float64,
        False,
    )
    assert driver(arrays).scores(Bottom(Frequency(0.1)), TAGS).effects is None
    other = driver(arrays).scores(Correlation(), TAGS)
    assert other.effects is None
    assert other.p_robust is not None
    first = select(result, list("ABCD"), Rule(1, "model")).tags["B"][0]
    assert first.effect == result.effects[1, LAYERS.index(first.layer) * WIDTH + first.neuron].item()
    assert select(other, list("ABCD"), Rule(1, "model")).tags["B"][0].effect is None


@pytest.mark.parametrize("of_all_layers", [True, False])
def test_maxima_of_frequencies_equal_a_direct_loop(arrays, of_all_layers):
    scorer = Frequency(0.1, of_all_layers, min_cramers_v=0.05)
    result = driver(arrays).maxima(scorer, lambda i: np.roll(TAGS, i), 3)
    by_hand = [driver(arrays).scores(scorer, np.roll(TAGS, i)).values.amax(dim=1) for i in range(3)]
    assert torch.equal(torch.stack(list(result)), torch.stack(by_hand))


def test_joint_scorers_receive_the_neurons_of_the_scope(arrays):
    by_layer, together = Recorder(), Recorder()
    one = driver(arrays, budget_bytes=1).scores(by_layer, TAGS)
    all_ = driver(arrays, "model", budget_bytes=1).scores(together, TAGS)
    assert by_layer.seen == [(len(ROWS), WIDTH)] * 3
    assert together.seen == [(len(ROWS), 3 * WIDTH)]
    assert torch.equal(one.values, all_.values)
    assert one.p_values is None


class PerNeuronScorer:
    """A scorer without a base class that declares per-neuron scores and a test."""

    per_neuron = True

    def __call__(self, values, tags, n_tags):
        return torch.stack([values[tags == tag].double().mean(dim=0) for tag in range(n_tags)])

    def test(self, values, tags, n_tags):
        return self(values, tags, n_tags), torch.full((n_tags, values.shape[1]), 0.5)


def test_a_scorer_may_declare_per_neuron_scores_and_a_test(arrays):
    traits = scoring_of(PerNeuronScorer()).traits
    assert (traits.per_neuron, traits.tested, traits.permutable, traits.views) == (True, True, True, ())
    assert [scoring_of(Recorder()).traits.per_neuron, scoring_of(Recorder()).traits.tested] == [False, False]
    blocks = driver(arrays, budget_bytes=10 * BYTES_PER_VALUE * len(ROWS)).scores(PerNeuronScorer(), TAGS)
    expected = PerNeuronScorer()(side_by_side(arrays), torch.from_numpy(TAGS), 4)
    torch.testing.assert_close(blocks.values, expected, rtol=1e-12, atol=0)
    assert (blocks.p_values == 0.5).all()


def test_a_function_is_a_scorer(arrays):
    result = driver(arrays).scores(lambda values, tags, n_tags: PerNeuronScorer()(values, tags, n_tags), TAGS)
    assert torch.equal(result.values, driver(arrays).scores(PerNeuronScorer(), TAGS).values)
    assert result.p_values is None


@pytest.mark.parametrize(
    ("returned", "got"),
    [(lambda v: v.T, r"\(97, 600\)"), (lambda v: v[0], r"\(97,\)"), (lambda v: v[:4].numpy(), "ndarray")],
)
def test_results_of_the_wrong_shape_are_rejected(arrays, returned, got):
    with pytest.raises(ValueError, match=rf"must return a tensor \[tags, neurons\] of shape \(4, 97\), got {got}"):
        driver(arrays).scores(lambda values, tags, n_tags: returned(values), TAGS)


@pytest.mark.parametrize("scorer", [Correlation(), MutualInformation()], ids=repr)
def test_bottom_ranks_all_layers_together(arrays, scorer):
    top = driver(arrays).scores(scorer, TAGS)
    bottom = driver(arrays).scores(Bottom(scorer), TAGS)
    order = top.values.abs().sort(dim=1, descending=True, stable=True).indices
    assert torch.equal(bottom.values.argsort(dim=1), order)
    assert bottom.p_values is None


def test_a_subset_of_words_is_scored_as_if_it_were_all_words(arrays):
    some = np.r_[np.arange(50, 200), np.arange(100)]  # with duplicates
    result = driver(arrays).of_words(some, 4).scores(FTest(), TAGS[some]).values
    again = Driver(arrays, ROWS[some], 4, "mlp", "layer").scores(FTest(), TAGS[some]).values
    assert torch.equal(result, again)
    assert not torch.equal(result, driver(arrays).scores(FTest(), TAGS).values)


@pytest.mark.parametrize("scorer", [Correlation(), LAPE(80.0), AveragePrecision()], ids=repr)
@pytest.mark.parametrize("budget", [40 * BYTES_PER_VALUE * len(ROWS), 2**29])  # AveragePrecision in blocks, and whole
def test_maxima_equal_a_direct_loop(arrays, scorer, budget):
    taggings = [np.random.default_rng(i).permutation(TAGS) for i in range(5)]
    result = list(driver(arrays, budget_bytes=budget).maxima(scorer, taggings.__getitem__, 5))
    for tags, maxima in zip(taggings, result, strict=True):
        by_hand = driver(arrays).scores(scorer, tags).values.abs().amax(dim=1)
        torch.testing.assert_close(maxima, by_hand, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("at_once", [1, 2, 5])
@pytest.mark.parametrize("scorer", [Correlation(), WelchT(magnitude=True), LAPE(80.0)], ids=repr)
def test_maxima_do_not_depend_on_the_number_of_taggings_at_a_time(arrays, scorer, at_once):
    taggings = [np.random.default_rng(i).permutation(TAGS) for i in range(5)]
    requested = []

    def tagging(i: int) -> np.ndarray:
        requested.append(i)
        return taggings[i]

    budget = at_once * 2 * BYTES_PER_MOMENT * 4 * WIDTH * len(LAYERS)
    result = driver(arrays, budget_bytes=budget).maxima(scorer, tagging, 5)
    first = next(result)
    assert requested == list(range(at_once))  # so there are several pieces
    by_hand = [driver(arrays).scores(scorer, tags).values.abs().amax(dim=1) for tags in taggings]
    torch.testing.assert_close(torch.stack([first, *result]), torch.stack(by_hand), rtol=1e-12, atol=0)


def test_maxima_need_no_p_values(arrays, monkeypatch):
    def refuse(self, moments):
        raise AssertionError

    monkeypatch.setattr(Correlation, "test_moments", refuse)
    maxima = list(driver(arrays).maxima(Correlation(), lambda i: np.roll(TAGS, i), 2))
    assert len(maxima) == 2
    with pytest.raises(AssertionError):
        driver(arrays).scores(Correlation(), TAGS)


ALONE = [Correlation(), MeanDifference(), FTest(), WelchT(), Probeless(), MutualInformation(), AveragePrecision()]
BY_FREQUENCY = [Frequency(0.1), Frequency(0.1, of_all_layers=True, signed=False)]


@pytest.mark.parametrize("scorer", [*ALONE, L1Probe(n_nonzero=3), Frequency(0.1), MeanAttribution()], ids=repr)
def test_a_layer_among_several_scores_as_it_does_alone(arrays, scorer):
    several = driver(arrays).scores(scorer, TAGS)
    for i, layer in enumerate(LAYERS):
        alone = driver({layer: arrays[layer]}).scores(scorer, TAGS)
        here = slice(i * WIDTH, (i + 1) * WIDTH)
        assert torch.equal(several.values[:, here], alone.values)
        if alone.p_values is not None:
            assert torch.equal(several.p_values[:, here], alone.p_values)


def test_a_planted_neuron_is_selected_in_its_layer(arrays):
    planted = {layer: np.array(array) for layer, array in arrays.items()}
    planted[5][ROWS[TAGS == 2], 17] += 3
    for scorer in ALONE:
        sets = select(driver(planted, "model").scores(scorer, TAGS), list("ABCD"), Rule(1, "model"))
        assert [(n.layer, n.neuron) for n in sets.tags["C"]] == [(5, 17)]
        assert (5, 17) not in [(n.layer, n.neuron) for n in select(  # sanity check: it was planted
            driver(arrays, "model").scores(scorer, TAGS), list("ABCD"), Rule(1, "model")).tags["C"]]  # fmt: skip


@pytest.mark.parametrize("scorer", [*ALONE, LAPE(), Random()], ids=repr)
def test_constant_activations_give_empty_sets(arrays, scorer):
    alike = {layer: np.full_like(array, 0.1) for layer, array in arrays.items()}
    sets = select(driver(alike).scores(scorer, TAGS), list("ABCD"), Rule(3, "layer"))
    assert [sets.tags[tag] for tag in sets] == [(), (), (), ()]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("scorer", [*ALONE, LAPE(), Random(), Bottom(Correlation()), *BY_FREQUENCY], ids=repr)
def test_a_gpu_gives_the_same(arrays, scorer):
    here, there = driver(arrays), driver(arrays, device="cuda")
    torch.testing.assert_close(
        there.scores(scorer, TAGS).values, here.scores(scorer, TAGS).values, rtol=1e-9, atol=1e-9
    )
    maxima = [torch.stack(list(d.maxima(scorer, lambda i: np.roll(TAGS, i), 3))) for d in (here, there)]
    torch.testing.assert_close(*maxima, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scope", ["layer", "model"])
@pytest.mark.parametrize(
    "scorer", [Correlation(), MutualInformation(), L1Probe(n_nonzero=2), Recorder(), *BY_FREQUENCY], ids=repr
)
def test_non_finite_activation_names_layer_and_neuron(arrays, scorer, scope):
    broken = {layer: np.array(array) for layer, array in arrays.items()}
    broken[5][ROWS[3], 41] = np.inf
    budget = 10 * BYTES_PER_VALUE * len(ROWS)
    with pytest.raises(ValueError, match=r"neuron 41 of layer 5 \(site mlp\) has an activation that is not finite"):
        driver(broken, scope, budget_bytes=budget).scores(scorer, TAGS)


def test_a_neuron_that_cannot_be_scored_is_named(arrays):
    perfect = {layer: np.array(array) for layer, array in arrays.items()}
    perfect[9][ROWS, 3] = TAGS == 1
    with pytest.raises(ValueError, match=r"neuron 3 of layer 9 \(site mlp\) does not vary within tag 1"):
        driver(perfect).scores(FTest(), TAGS)


def test_a_tag_that_cannot_be_scored_is_named(arrays):
    with pytest.raises(TagError, match="tag 3 needs at least 1 word with it and 1 without, got 0 of 600"):
        driver(arrays).scores(Correlation(), TAGS % 3)


def test_non_finite_activation_of_an_unlabelled_word_is_ignored(arrays):
    broken = {layer: np.array(array) for layer, array in arrays.items()}
    broken[5][0, 41] = np.nan
    assert driver(broken).scores(Correlation(), TAGS).values.isfinite().all()


def test_budget_too_small_for_two_neurons(arrays):
    with pytest.raises(ValueError, match=f"at least {2 * BYTES_PER_VALUE * len(ROWS)} for 600 words, got 100"):
        driver(arrays, budget_bytes=100).scores(MutualInformation(), TAGS)


def test_layers_must_have_the_same_shape(arrays):
    with pytest.raises(ValueError, match="there must be at least one layer, and all must have the same shape"):
        driver({})
    with pytest.raises(ValueError, match="the same shape"):
        driver({**arrays, 9: arrays[9][:, :5]})
