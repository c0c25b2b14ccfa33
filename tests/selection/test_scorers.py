"""Laws that hold for every scorer."""

from __future__ import annotations

import pytest
import torch

from keyneurons.selection.correlation import Correlation
from keyneurons.selection.l1_probe import L1Probe
from keyneurons.selection.mutual_information import MutualInformation
from keyneurons.selection.scorer import NonFiniteColumnError, SignificantScorer

SCORERS = [Correlation(), MutualInformation(), L1Probe(n_nonzero=3), L1Probe(C=0.1)]


def planted(words: int = 600, neurons: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    """Neuron 4 marks tag 0, neuron 11 marks tag 1 downwards, neuron 20 marks tag 2; the rest is noise."""
    generator = torch.Generator().manual_seed(0)
    tags = torch.randint(3, (words,), generator=generator)
    values = torch.randn(words, neurons, generator=generator)
    for tag, neuron, sign in ((0, 4, 1), (1, 11, -1), (2, 20, 1)):
        values[:, neuron] += 3 * sign * (tags == tag)
    return values, tags


@pytest.mark.parametrize("scorer", SCORERS, ids=repr)
class TestEveryScorer:
    def test_planted_neurons_are_found(self, scorer):
        values, tags = planted()
        assert scorer(values, tags, 3).abs().argmax(dim=1).tolist() == [4, 11, 20]

    def test_shuffled_tags_find_nothing(self, scorer):
        values, tags = planted()
        shuffled = tags[torch.randperm(len(tags), generator=torch.Generator().manual_seed(1))]
        assert scorer(values, shuffled, 3).abs().max() < 0.5 * scorer(values, tags, 3).abs().max()

    def test_renaming_permutes(self, scorer):
        values, tags = planted()
        order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
        names = torch.tensor([2, 0, 1])
        scores = scorer(values[:, order], names[tags], 3)
        torch.testing.assert_close(scores[names], scorer(values, tags, 3)[:, order], atol=2e-4, rtol=1e-3)

    def test_inputs_are_untouched(self, scorer):
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
        assert not scores[:, 0].any()

    def test_repeats_bit_for_bit(self, scorer):
        values, tags = planted()
        assert torch.equal(scorer(values, tags, 3), scorer(values.clone(), tags.clone(), 3))

    def test_half_precision_is_read_as_it_is(self, scorer):
        values, tags = planted()
        half = values.half()
        assert torch.equal(scorer(half, tags, 3), scorer(half.float(), tags, 3))

    def test_non_finite_column_is_named(self, scorer):
        values, tags = planted()
        values[5, 17] = torch.inf
        values[6, 17] = torch.nan
        with pytest.raises(NonFiniteColumnError, match="got 2 values that are not in column 17"):
            scorer(values, tags, 3)

    def test_absent_tag_is_named(self, scorer):
        values, tags = planted()
        with pytest.raises(ValueError, match="got 0 of 600 for tag 3"):
            scorer(values, tags, 4)

    def test_tag_of_every_word_is_named(self, scorer):
        values, tags = planted()
        with pytest.raises(ValueError, match="got 600 of 600 for tag 0"):
            scorer(values, tags * 0, 1)

    def test_tag_out_of_range(self, scorer):
        values, tags = planted()
        with pytest.raises(ValueError, match=r"tags must lie in 0\.\.1, got 0\.\.2"):
            scorer(values, tags, 2)


@pytest.mark.parametrize("scorer", [scorer for scorer in SCORERS if isinstance(scorer, SignificantScorer)], ids=repr)
def test_p_values_come_with_the_same_scores(scorer):
    values, tags = planted()
    scores, p_values = scorer.test(values, tags, 3)
    assert torch.equal(scores, scorer(values, tags, 3))
    assert p_values.argmin(dim=1).tolist() == [4, 11, 20]
    assert p_values.min() >= 0
    assert p_values.max() <= 1


def test_which_scorers_have_a_test():
    assert [isinstance(scorer, SignificantScorer) for scorer in SCORERS] == [True, True, False, False]
