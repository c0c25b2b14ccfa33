"""Random scores as a control."""

from __future__ import annotations

import torch
from awkward_words import awkward

from keyneurons.selection.methods.random_scores import Random


def test_random_numbers_depend_only_on_the_seed_and_the_counts():
    values, tags = awkward()
    scores = Random(1)(values, tags, 4)
    assert torch.equal(Random(1)(values.flip(0) * 3, tags.flip(0), 4), scores)
    assert not torch.equal(Random(2)(values, tags, 4), scores)
    assert not torch.equal(Random(1)(values[1:], tags[1:], 4), scores)
    assert not scores[:, 3].any()
    others = scores[:, [0, 1, 2, 4, 5, 6, 7]]
    assert 0 < others.min() < others.max() < 1


def test_random_numbers_are_uniform_and_differ_between_tags():
    values, tags = torch.arange(40.0)[:, None] + torch.arange(5000.0), torch.arange(40) % 2
    scores = Random(0)(values, tags, 2)
    assert abs(scores.mean().item() - 0.5) < 0.01
    assert abs(torch.corrcoef(scores)[0, 1].item()) < 0.05
