"""Batches contain every word once, in an order determined by the seed; they may be read late."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from keyneurons.probe.batches import Batches
from keyneurons.probe.rows import Columns
from keyneurons.probe.standardise import Standardiser

WORDS = torch.arange(23)
FEATURES = torch.stack([WORDS, WORDS, -WORDS], dim=1).half()
COLUMNS = Columns(FEATURES, torch.tensor([0, 2]), WORDS.device)
TRIPLED = Standardiser(torch.zeros(2), torch.full((2,), 1 / 3))


@pytest.fixture(params=[True, False], ids=["kept", "read when used"])
def batches(request):
    return partial(
        Batches, COLUMNS, [WORDS[None]], batch_size=10, standardise=TRIPLED, name="train", keep=request.param
    )


def test_shuffled_batches_hold_every_word_once_with_its_labels(batches):
    shuffled = batches(generator=torch.Generator().manual_seed(0))
    assert [features.shape for features, _ in shuffled] == [(2, 8), (2, 8), (2, 7)]
    for features, (labels,) in shuffled:
        torch.testing.assert_close(features, torch.cat([3 * labels, -3 * labels]).float())
    order = torch.cat([labels[0] for _, (labels,) in shuffled])
    assert torch.equal(order.sort().values, WORDS)
    again, other = (batches(generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert torch.equal(order, torch.cat([labels[0] for _, (labels,) in again]))
    assert not torch.equal(order, torch.cat([labels[0] for _, (labels,) in other]))


def test_without_generator_words_come_in_order(batches):
    assert torch.equal(torch.cat([labels[0] for _, (labels,) in batches()]), WORDS)
    torch.testing.assert_close(torch.cat([features[0] for features, _ in batches()]), 3 * WORDS.float())


def test_batches_come_in_the_order_asked_for(batches):
    firsts = [int(labels[0, 0]) for _, (labels,) in batches().in_order([2, 0, 1])]
    assert firsts == [16, 0, 8]
