"""Counts, sums and squares by tag do not depend on the order or batches of words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from awkward_words import awkward

from keyneurons.selection.moments import Moments, MomentSums, View, moments_of
from keyneurons.selection.scorer import ColumnError
from keyneurons.selection.views import MAGNITUDE, POSITIVE, VALUE


def by_hand(values: torch.Tensor, tags: torch.Tensor, view: View) -> dict[str, np.ndarray]:
    x = values.double().numpy()
    x = {VALUE: x, MAGNITUDE: np.abs(x), POSITIVE: (x > 0).astype(float)}[view]
    groups = [(x[tags == tag], x[tags != tag]) for tag in range(4)]
    return {
        "means": np.stack([own.mean(0) for own, _ in groups]),
        "difference": np.stack([own.mean(0) - rest.mean(0) for own, rest in groups]),
        "inside": np.stack([((own - own.mean(0)) ** 2).sum(0) for own, _ in groups]),
        "outside": np.stack([((rest - rest.mean(0)) ** 2).sum(0) for _, rest in groups]),
        "total": ((x - x.mean(0)) ** 2).sum(0),
        "low": x.min(0) - x[0],
        "high": x.max(0) - x[0],
    }


def assert_as_by_hand(actual: Moments, expected: dict[str, np.ndarray]) -> None:
    inside, outside = actual.squares_within()
    pairs = {
        "means": actual.means(), "difference": actual.difference(), "inside": inside, "outside": outside,
        "total": actual.total_squares(), "low": actual.low, "high": actual.high,
    }  # fmt: skip
    for name, value in pairs.items():
        np.testing.assert_allclose(value.numpy(), expected[name], rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("view", [VALUE, MAGNITUDE, POSITIVE], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_equal_a_direct_computation(view, dtype):
    values, tags = awkward(dtype)
    assert_as_by_hand(moments_of(values, tags, 4, view), by_hand(values, tags, view))


@pytest.mark.parametrize("pieces", [1, 7, 300])
@pytest.mark.parametrize("at_once", [1, 20, 2**20])
def test_moments_do_not_depend_on_the_batch_size(pieces, at_once, monkeypatch):
    """Batches range from one word to all words."""
    monkeypatch.setattr("keyneurons.selection.moments.VALUES_AT_ONCE", at_once)
    values, tags = awkward(torch.float16)
    sums = MomentSums(VALUE, 4)
    for some in torch.arange(300).chunk(pieces):
        sums.add(values[some], tags[None, some])
    assert_as_by_hand(sums.result(tags[None])[0], by_hand(values, tags, VALUE))


def test_moments_do_not_depend_on_the_order_of_words():
    values, tags = awkward()
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    actual = moments_of(values[order], tags[order], 4)
    expected = by_hand(values, tags, VALUE)
    expected["low"], expected["high"] = (expected[k] + (values[0] - values[order[0]]).numpy() for k in ("low", "high"))
    assert_as_by_hand(actual, expected)


def test_several_taggings_at_once_equal_one_at_a_time():
    values, tags = awkward()
    taggings = torch.stack([tags, tags.flip(0), (tags + 1) % 4])
    sums = MomentSums(VALUE, 4, 3)
    sums.add(values, taggings)
    for actual, tagging in zip(sums.result(taggings), taggings, strict=True):
        alone = moments_of(values, tagging, 4)
        for name in ("counts", "sums", "squares", "low", "high"):
            assert torch.equal(getattr(actual, name), getattr(alone, name))


def test_a_constant_neuron_is_detected_exactly():
    values, tags = awkward(torch.float32)
    assert moments_of(values, tags, 4).constant.tolist() == [False, False, False, True, False, False, False, False]


def test_variance_is_accurate_for_large_means():
    """100,000 float16 values near 3 sum beyond float16; near 1000 the naive formula cancels."""
    generator = torch.Generator().manual_seed(0)
    values = (1000 + torch.randint(0, 2, (100_000, 1), generator=generator)).half()
    tags = torch.randint(2, (100_000,), generator=generator)
    actual = moments_of(values, tags, 2)
    assert actual.total_squares().item() / 100_000 == pytest.approx(values.double().var(correction=0).item(), rel=1e-12)


def test_layers_are_concatenated():
    values, tags = awkward()
    whole = moments_of(values, tags, 4)
    parts = Moments.concatenate([moments_of(values[:, :3], tags, 4), moments_of(values[:, 3:], tags, 4)])
    for name in ("counts", "pivot", "sums", "squares", "low", "high"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))


@pytest.mark.parametrize("view", [VALUE, MAGNITUDE, POSITIVE], ids=repr)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_non_finite_values_are_rejected_in_every_view(view, bad):
    values, tags = awkward()
    values[17, 6] = bad
    with pytest.raises(ColumnError, match="column 6 has an activation that is not finite"):
        moments_of(values, tags, 4, view)


def test_no_words():
    with pytest.raises(ValueError, match="moments need at least 1 word, got 0"):
        MomentSums(VALUE, 2).result(torch.zeros(1, 0, dtype=torch.long))
