"""Batches contain every word once, in an order determined by the seed."""

from __future__ import annotations

from functools import partial

import torch

from keyneurons.probe.batches import in_batches

WORDS = torch.arange(23)
FEATURES = torch.stack([WORDS, -WORDS], dim=1).float()
batches = partial(in_batches, FEATURES, [WORDS[None]], batch_size=10, prepare=lambda x: 3 * x, device=WORDS.device)


def test_shuffled_batches_hold_every_word_once_with_its_labels():
    shuffled = batches(generator=torch.Generator().manual_seed(0))
    assert [features.shape for features, _ in shuffled] == [(2, 8), (2, 8), (2, 7)]
    for features, (labels,) in shuffled:
        assert torch.equal(features, torch.cat([3 * labels, -3 * labels]).float())
    order = torch.cat([labels[0] for _, (labels,) in shuffled])
    assert torch.equal(order.sort().values, WORDS)
    again, other = (batches(generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert torch.equal(order, torch.cat([labels[0] for _, (labels,) in again]))
    assert not torch.equal(order, torch.cat([labels[0] for _, (labels,) in other]))


def test_without_generator_words_come_in_order():
    assert torch.equal(torch.cat([labels[0] for _, (labels,) in batches()]), WORDS)
    assert torch.equal(torch.cat([features[0] for features, _ in batches()]), 3 * WORDS.float())
