"""Counts, sums and squares by tag do not depend on the order or batches of words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from awkward_words import awkward

from keyneurons.selection.clusters import sums_by_group, sums_by_product
from keyneurons.selection.methods.correlation import Correlation
from keyneurons.selection.moments import Moments, MomentSums, View, moments_of, words_at_once
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
        "low": x.min(0),
        "high": x.max(0),
    }


def assert_as_by_hand(actual: Moments, expected: dict[str, np.ndarray], rtol: float = 1e-9) -> None:
    """Compare relative to the deviation of each neuron, or its square."""
    inside, outside = actual.squares_within()
    pairs = {
        "means": actual.means(), "difference": actual.difference(), "inside": inside, "outside": outside,
        "total": actual.total_squares(), "low": actual.pivot + actual.low, "high": actual.pivot + actual.high,
    }  # fmt: skip
    deviation = np.sqrt(expected["total"] / actual.n_words) + 1e-300
    for name, value in pairs.items():
        scale = expected["total"] + 1e-300 if name in {"inside", "outside", "total"} else deviation
        scale = np.maximum(scale, np.abs(expected[name])) if name in {"low", "high"} else scale
        far = np.abs(value.numpy() - expected[name]) / scale
        constant = expected["high"] == expected["low"]
        assert far[..., ~constant].max() < rtol, name
        np.testing.assert_allclose(value.numpy()[..., constant], expected[name][..., constant], rtol=1e-12, atol=1e-15)


# sums of up to 512 words are rounded to float32
ROUNDING = {torch.float16: 1e-6, torch.bfloat16: 1e-6, torch.float32: 1e-6, torch.float64: 1e-9}


@pytest.mark.parametrize("view", [VALUE, MAGNITUDE, POSITIVE], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_equal_a_direct_computation(view, dtype):
    values, tags = awkward(dtype)
    assert_as_by_hand(moments_of(values, tags, 4, view), by_hand(values, tags, view), ROUNDING[dtype])


@pytest.mark.parametrize("pieces", [1, 7, 300])
@pytest.mark.parametrize("at_once", [1, 20, 2**20])
def test_moments_do_not_depend_on_the_batch_size(pieces, at_once, monkeypatch):
    """Batches range from one word to all words."""
    monkeypatch.setattr("keyneurons.selection.moments.VALUES_AT_ONCE", at_once)
    values, tags = awkward(torch.float16)
    sums = MomentSums(VALUE, [4])
    for some in torch.arange(300).chunk(pieces):
        sums.add(values[some], tags[None, some])
    assert_as_by_hand(sums.result(tags[None])[0], by_hand(values, tags, VALUE), ROUNDING[torch.float16])


def test_moments_do_not_depend_on_the_order_of_words():
    values, tags = awkward()
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    actual = moments_of(values[order], tags[order], 4)
    expected = by_hand(values, tags, VALUE)
    assert_as_by_hand(actual, expected)


def test_several_taggings_at_once_equal_one_at_a_time():
    values, tags = awkward()
    taggings = torch.stack([tags, tags.flip(0), (tags + 1) % 4])
    sums = MomentSums(VALUE, [4] * 3)
    sums.add(values, taggings)
    for actual, tagging in zip(sums.result(taggings), taggings, strict=True):
        alone = moments_of(values, tagging, 4)
        for name in ("counts", "sums", "squares", "low", "high"):
            assert torch.equal(getattr(actual, name), getattr(alone, name))


def test_a_constant_neuron_is_detected_exactly():
    values, tags = awkward(torch.float32)
    assert moments_of(values, tags, 4).constant.tolist() == [False, False, False, True, False, False, False, False]


@pytest.mark.parametrize("at_once", [2**10, 2**20])
@pytest.mark.parametrize("view", [VALUE, MAGNITUDE], ids=repr)
def test_sums_are_as_accurate_as_in_float64(view, at_once, monkeypatch):
    """Means up to 24,000, deviations down to the spacing of float16, and one outlier of 24,000."""
    monkeypatch.setattr("keyneurons.selection.moments.VALUES_AT_ONCE", at_once)
    rng, n = np.random.default_rng(0), 50_000
    mean = np.array([0, 3, 1000, -1000, 24_000, -24_000, 24_000, 0.01])
    deviation = np.array([1, 0.1, 1, 2, 16, 40, 3000, 0.01])
    tags = rng.integers(0, 4, n)
    x = mean + deviation * (rng.standard_normal((n, 8)) + 0.2 * rng.standard_normal((4, 8))[tags])
    x[0, 0], x[7, 7] = 24_000, 24_000
    values, at = torch.from_numpy(x).half(), torch.from_numpy(tags)
    actual, expected = moments_of(values, at, 4, view), by_hand(values, at, view)
    assert_as_by_hand(actual, expected, 5e-6)
    exact = moments_of(values.double(), at, 4, view)
    one, other = (Correlation().of_moments(each) for each in (actual, exact))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    assert torch.equal(one.argsort(stable=True), other.argsort(stable=True))


def test_sums_of_float16_integers_are_exact():
    """100,000 values of 1000 or 1001: beyond float16 in sum, and the naive variance cancels."""
    generator = torch.Generator().manual_seed(0)
    values = (1000 + torch.randint(0, 2, (100_000, 1), generator=generator)).half()
    tags = torch.randint(2, (100_000,), generator=generator)
    actual = moments_of(values, tags, 2)
    assert actual.total_squares().item() / 100_000 == pytest.approx(values.double().var(correction=0).item(), rel=1e-12)


@pytest.mark.parametrize("n_words", [1, 511, 512, 1300])
def test_sums_by_product_equal_those_by_row(n_words):
    """A GPU multiplies by a one-hot matrix where a CPU adds rows."""
    generator = torch.Generator().manual_seed(n_words)
    values, groups = torch.randn(n_words, 5, generator=generator), torch.randint(7, (n_words,), generator=generator)
    by_row = torch.zeros(7, 5, dtype=torch.float64).index_add_(0, groups, values.double())
    for actual in (sums_by_product(values, groups, 7), sums_by_group(values, groups, 7)):
        assert actual.dtype == torch.float64
        torch.testing.assert_close(actual, by_row, rtol=0, atol=1e-5)


def test_a_gpu_gets_few_large_pieces():
    assert words_at_once(4096, torch.device("cuda"), 2**29) * 4096 * 16 <= 2**29
    assert 1_000_000 / words_at_once(4096, torch.device("cuda"), 2**29) < 130
    assert words_at_once(1536, torch.device("cpu")) == 512
    assert words_at_once(10**9, torch.device("cuda")) == 1
    assert words_at_once(2**14, torch.device("cpu")) == words_at_once(131_072, torch.device("cpu")) == 64


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
        MomentSums(VALUE, [2]).result(torch.zeros(1, 0, dtype=torch.long))
