"""Nearest-neighbour information against scikit-learn, and the sample of words."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.feature_selection import mutual_info_classif

from keyneurons.selection.methods.nearest_neighbours import NearestNeighbourInformation


def noise(words: int, neurons: int, n_tags: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tags = torch.randint(n_tags, (words,), generator=generator)
    return torch.randn(words, neurons, generator=generator) + 0.5 * tags[:, None], tags


@pytest.mark.parametrize(("neighbours", "seed"), [(3, 0), (5, 7)])
def test_equals_scikit_learn(neighbours, seed):
    values, tags = noise(300, 3, 3)
    values[:, 1] = values[:, 1].clamp(min=0)  # ties, which the noise breaks
    scores = NearestNeighbourInformation(neighbours=neighbours, seed=seed)(values, tags, 3)
    for tag in range(3):
        for neuron in range(3):
            column = values[:, neuron, None].double().numpy()
            nats = mutual_info_classif(column, tags == tag, n_neighbors=neighbours, random_state=seed)[0]
            assert scores[tag, neuron].item() == pytest.approx(nats / math.log(2), rel=1e-12)


def test_gaussians_one_apart():
    """METHODS.md: .160747 bits is the true value."""
    tags = torch.arange(20_000) % 2
    values = (torch.randn(20_000, generator=torch.Generator().manual_seed(0)) + tags)[:, None]
    score = NearestNeighbourInformation(sample=20_000)(values, tags, 2)[0, 0].item()
    assert score == pytest.approx(0.160747, abs=0.015)


def test_score_does_not_depend_on_other_neurons():
    values, tags = noise(400, 6, 2)
    values = values.clamp(min=0)
    scorer = NearestNeighbourInformation(sample=150)
    parts = [scorer(values[:, first : first + 2], tags, 2) for first in (0, 2, 4)]
    assert torch.equal(torch.cat(parts, dim=1), scorer(values, tags, 2))
    together = mutual_info_classif(values, tags, random_state=0)  # scikit-learn's noise does depend on them
    assert mutual_info_classif(values[:, 4:], tags, random_state=0).tolist() != together[4:].tolist()


def test_sample_is_proportional_and_includes_rare_tags():
    counts = [6000, 3990, 8, 2]
    tags = torch.arange(4).repeat_interleave(torch.tensor(counts))
    tags = tags[torch.randperm(10_000, generator=torch.Generator().manual_seed(1))]
    words = NearestNeighbourInformation(sample=1000).sampled(tags, counts)
    assert torch.bincount(tags[words]).tolist() == [600, 399, 4, 2]
    assert (words.diff() > 0).all()
    other = NearestNeighbourInformation(sample=1000, seed=1).sampled(tags, counts)
    assert not torch.equal(words, other)


def test_small_inputs_are_sampled_completely():
    _, tags = noise(70, 1, 3)
    counts = torch.bincount(tags).tolist()
    for sample in (70, 71, 5000):
        assert NearestNeighbourInformation(sample=sample).sampled(tags, counts).tolist() == list(range(70))


def test_score_depends_only_on_the_sample():
    values, tags = noise(500, 2, 2)
    scorer = NearestNeighbourInformation(sample=100)
    words = scorer.sampled(tags, torch.bincount(tags).tolist())
    others = torch.ones(500, dtype=torch.bool).index_fill_(0, words, False)
    changed = values.masked_fill(others[:, None], 5.0)
    assert torch.equal(scorer(changed, tags, 2), scorer(values, tags, 2))
    of_all = NearestNeighbourInformation()
    assert not torch.equal(of_all(changed, tags, 2), of_all(values, tags, 2))


def test_constant_neuron_scores_zero():
    values, tags = noise(400, 3, 2)
    values[:, 1] = 0.1
    scores = NearestNeighbourInformation()(values, tags, 2)
    assert scores[:, 1].tolist() == [0.0, 0.0]
    assert scores[:, [0, 2]].any()


def test_one_word_tag_scores_zero():
    values, _ = noise(60, 2, 2)
    tags = torch.zeros(60, dtype=torch.long)
    tags[9] = 1
    assert not NearestNeighbourInformation()(values, tags, 2).any()


def test_input_is_unchanged():
    values, tags = noise(40, 2, 2)
    values = values.double()
    before = values.clone(), tags.clone()
    NearestNeighbourInformation()(values, tags, 2)
    assert torch.equal(values, before[0])
    assert torch.equal(tags, before[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 0}, "neighbours must be at least 1, got 0"),
        ({"neighbours": 5, "sample": 5}, "sample must be greater than neighbours=5, got 5"),
        ({"seed": -1}, r"seed must lie in 0\.\.4294967295, got -1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        NearestNeighbourInformation(**options)
