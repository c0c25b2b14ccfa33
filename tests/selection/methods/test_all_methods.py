"""Properties of every scorer."""

from __future__ import annotations

import pytest
import torch

from keyneurons.selection.columns import scoring_of
from keyneurons.selection.methods.average_precision import AveragePrecision
from keyneurons.selection.methods.bottom import Bottom
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.methods.elastic_net import ElasticNet
from keyneurons.selection.methods.f_test import FTest
from keyneurons.selection.methods.gaussian_probe import GaussianProbe
from keyneurons.selection.methods.l1_probe import L1Probe
from keyneurons.selection.methods.lape import LAPE
from keyneurons.selection.methods.linear_weights import LinearWeights
from keyneurons.selection.methods.mean_difference import MeanDifference
from keyneurons.selection.methods.mutual_information import MutualInformation
from keyneurons.selection.methods.nearest_neighbours import NearestNeighbourInformation
from keyneurons.selection.methods.probeless import Probeless
from keyneurons.selection.methods.random_scores import Random
from keyneurons.selection.methods.welch_t import WelchT
from keyneurons.selection.rules import top_k_neurons
from keyneurons.selection.scorer import ColumnError, NeuronScorer, TagError

SCORERS = [
    Correlation(),
    MeanDifference(),
    MeanDifference(standardised=False),
    FTest(),
    WelchT(),
    Probeless(),
    Probeless(standardised=True),
    MutualInformation(),
    NearestNeighbourInformation(sample=400),
    AveragePrecision(),
    L1Probe(n_nonzero=3),
    L1Probe(C=0.1),
    ElasticNet(0.01, 0.01),
    GaussianProbe(3),
]
# the strongest neuron of a tag need not be the planted one: rankings of all tags, LAPE, controls
OTHERS = [LinearWeights(0.01), LAPE(60.0), Random(), Bottom(Correlation())]
EVERY = [*SCORERS, *OTHERS]


def planted(words: int = 600, neurons: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    """Neuron 4 marks tag 0, 11 marks tag 1 negatively, 20 marks tag 2; the rest is noise."""
    generator = torch.Generator().manual_seed(0)
    tags = torch.randint(3, (words,), generator=generator)
    values = torch.randn(words, neurons, generator=generator)
    for tag, neuron, sign in ((0, 4, 1), (1, 11, -1), (2, 20, 1)):
        values[:, neuron] += 3 * sign * (tags == tag)
    return values, tags


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
class TestEveryMethod:
    def test_planted_neurons_score_highest(self, scorer):
        values, tags = planted()
        assert scorer(values, tags, 3).abs().argmax(dim=1).tolist() == [4, 11, 20]

    def test_planted_neurons_do_not_score_highest_with_shuffled_tags(self, scorer):
        values, tags = planted()
        shuffled = tags[torch.randperm(len(tags), generator=torch.Generator().manual_seed(1))]
        assert scorer(values, shuffled, 3).abs().max() < 0.5 * scorer(values, tags, 3).abs().max()


@pytest.mark.parametrize("scorer", [scorer for scorer in EVERY if scorer != Random()], ids=repr)
class TestEveryScorerButRandom:
    def test_permuting_neurons_permutes_scores(self, scorer):
        values, tags = planted()
        order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
        names = torch.tensor([2, 0, 1])
        scores = scorer(values[:, order], names[tags], 3)
        torch.testing.assert_close(scores[names], scorer(values, tags, 3)[:, order], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("scorer", EVERY, ids=repr)
class TestEveryScorer:
    def test_implements_the_protocol(self, scorer):
        values, tags = planted(100)
        assert isinstance(scorer, NeuronScorer)
        scores = scorer(values, tags, 3)
        assert (scores.shape, scores.dtype) == ((3, 30), torch.float64)
        assert scores.isfinite().all()

    def test_inputs_are_unchanged(self, scorer):
        values, tags = planted(100)
        before = values.clone(), tags.clone()
        scorer(values, tags, 3)
        assert torch.equal(values, before[0])
        assert torch.equal(tags, before[1])

    def test_constant_neuron_scores_zero(self, scorer):
        values, tags = planted()
        values[:, 0] = 0.1
        scores = scorer(values, tags, 3)
        assert scores.isfinite().all()
        if isinstance(scorer, Bottom):
            assert (scores[:, 0] == 1).all()  # 0 is the lowest possible score
        else:
            assert not scores[:, 0].any()

    def test_results_repeat_exactly(self, scorer):
        values, tags = planted()
        assert torch.equal(scorer(values, tags, 3), scorer(values.clone(), tags.clone(), 3))

    def test_half_precision_gives_the_scores_of_the_same_values_in_float32(self, scorer):
        values, tags = planted()
        half = values.half()
        assert torch.equal(scorer(half, tags, 3), scorer(half.float(), tags, 3))

    def test_memory_layout_does_not_matter(self, scorer):
        values, tags = planted()
        by_columns = values.T.contiguous().T
        torch.testing.assert_close(scorer(by_columns, tags, 3), scorer(values, tags, 3), rtol=1e-9, atol=1e-12)

    def test_non_finite_column_is_named(self, scorer):
        values, tags = planted()
        values[5, 17] = torch.inf
        values[6, 17] = torch.nan
        with pytest.raises(ColumnError, match="column 17 has an activation that is not finite"):
            scorer(values, tags, 3)

    def test_absent_tag_is_named(self, scorer):
        values, tags = planted()
        with pytest.raises(ValueError, match="tag 3 needs at least 1 word with it and 1 without, got 0 of 600"):
            scorer(values, tags, 4)

    def test_tag_of_every_word_is_named(self, scorer):
        values, tags = planted()
        with pytest.raises(ValueError, match="tag 0 needs at least 1 word with it and 1 without, got 600 of 600"):
            scorer(values, tags * 0, 1)

    def test_tag_out_of_range(self, scorer):
        values, tags = planted()
        with pytest.raises(ValueError, match=r"tags must lie in 0\.\.1, got 0\.\.2"):
            scorer(values, tags, 2)


@pytest.mark.parametrize("scorer", [scorer for scorer in SCORERS if scoring_of(scorer).traits.tested], ids=repr)
def test_p_values_come_with_the_same_scores(scorer):
    values, tags = planted()
    scores, p_values = scorer.test(values, tags, 3)
    assert torch.equal(scores, scorer(values, tags, 3))
    assert p_values.argmin(dim=1).tolist() == [4, 11, 20]
    assert p_values.min() >= 0
    assert p_values.max() <= 1


def test_which_scorers_have_a_test_and_which_need_only_moments():
    tested = {type(scorer).__name__ for scorer in SCORERS if scoring_of(scorer).traits.tested}
    assert tested == {"Correlation", "MeanDifference", "FTest", "WelchT", "MutualInformation"}
    summed = {type(scorer).__name__ for scorer in SCORERS if scoring_of(scorer).traits.views}
    assert summed == {"Correlation", "MeanDifference", "FTest", "WelchT", "Probeless"}


SAMPLED = (GaussianProbe, NearestNeighbourInformation)  # use part of the words
BLIND_TO_SCALE = [scorer for scorer in SCORERS if scorer not in (MeanDifference(standardised=False), Probeless())]


@pytest.mark.parametrize("scorer", BLIND_TO_SCALE, ids=repr)
def test_noise_of_large_scale_is_not_ranked_first(scorer):
    values, tags = planted()
    values[:, 7] *= 10_000
    assert scorer(values, tags, 3).abs().argmax(dim=1).tolist() == [4, 11, 20]


@pytest.mark.parametrize("scorer", [MeanDifference(standardised=False), Probeless()], ids=repr)
def test_noise_of_large_scale_is_ranked_first_in_the_published_form(scorer):
    values, tags = planted()
    values[:, 7] *= 10_000
    assert scorer(values, tags, 3).abs().argmax(dim=1).tolist().count(7) >= 2


@pytest.mark.parametrize("scorer", [s for s in SCORERS if not isinstance(s, SAMPLED)], ids=repr)
def test_two_tags_with_the_same_activations_have_equal_scores(scorer):
    values, tags = planted()
    other = tags.clone()
    other[tags == 1] = 3  # a copy of every word of tag 1, under another tag
    both = torch.cat([values, values[tags == 1]]), torch.cat([tags, other[tags == 1]])
    scores = scorer(*both, 4)
    assert scores.isfinite().all()
    torch.testing.assert_close(scores[1], scores[3], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
def test_constant_activations_score_zero_or_are_rejected(scorer):
    _, tags = planted()
    try:
        assert not scorer(torch.full((600, 30), 0.1), tags, 3).any()
    except ValueError as error:
        assert "non-zero weights" in str(error)  # noqa: PT017


NEED_TWO_WORDS = [WelchT(), WelchT(magnitude=True), GaussianProbe(3), L1Probe(n_nonzero=3)]
ONE_WORD = [scorer for scorer in EVERY if scorer not in NEED_TWO_WORDS]


# one word of 600 has little rank information; the penalty of an unbalanced probe exceeds its loss
TOO_FEW = (MutualInformation, NearestNeighbourInformation, ElasticNet)


def one_word() -> tuple[torch.Tensor, torch.Tensor]:
    """Neuron 4 marks tag 0; tag 2 has a single word, which neuron 20 marks."""
    values, tags = planted()
    tags, values[:, 20] = tags % 2, values[:, 10]
    tags[37], values[37, 20] = 2, 5
    return values, tags


@pytest.mark.parametrize("scorer", ONE_WORD, ids=repr)
def test_a_tag_of_one_word_is_scored(scorer):
    values, tags = one_word()
    scores = scorer(values, tags, 3)
    assert scores.isfinite().all()
    if scorer not in OTHERS and not isinstance(scorer, TOO_FEW):
        assert scores[2].abs().argmax() == 20


@pytest.mark.parametrize("scorer", NEED_TWO_WORDS, ids=repr)
def test_methods_that_need_two_words_name_a_tag_of_one_word(scorer):
    """A variance needs two words; a separating neuron leaves an L1 probe one weight."""
    with pytest.raises(TagError, match="^tag 2 (needs at least 2 |.* got 1|has . non-zero weights)"):
        scorer(*one_word(), 3)


@pytest.mark.parametrize("scorer", [LinearWeights(0.01), LAPE(90.0)], ids=repr)
def test_other_rankings_put_planted_neurons_first(scorer):
    values, tags = planted()
    values[:, 7] *= 10_000
    strongest = set(top_k_neurons(scorer(values, tags, 3).amax(dim=0, keepdim=True), 3)[0].tolist())
    assert strongest == {4, 11, 20} or (isinstance(scorer, LAPE) and {4, 20} <= strongest)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("scorer", EVERY, ids=repr)
def test_a_gpu_gives_the_same(scorer):
    values, tags = planted()
    there = scorer(values.cuda(), tags.cuda(), 3).cpu()
    torch.testing.assert_close(there, scorer(values, tags, 3), rtol=1e-4, atol=1e-5)
