"""The strongest neurons of a word, compared with sorting each row."""

from __future__ import annotations

import pytest
import torch

from keyneurons.selection.moments import moments_of
from keyneurons.selection.scorer import ColumnError
from keyneurons.selection.views import TopShare


def attributions(words: int = 40, neurons: int = 30, seed: int = 0) -> torch.Tensor:
    return torch.randn(words, neurons, generator=torch.Generator().manual_seed(seed))


def by_sorting(values: torch.Tensor, k: int, signed: bool) -> list[list[bool]]:
    """Sort each word: the k strongest above 0, ties to the lower neuron."""
    kept = []
    for row in values.tolist():
        strength = row if signed else [abs(value) for value in row]
        strongest = sorted(range(len(row)), key=lambda n: (-strength[n], n))[:k]
        kept.append([n in strongest and strength[n] > 0 for n in range(len(row))])
    return kept


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("share", "k"), [(0.01, 1), (0.05, 2), (0.2, 6), (0.5, 15), (0.99, 30)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_equals_a_sort_of_every_word(share, k, signed, dtype):
    values = attributions().to(dtype)
    assert TopShare(share, signed)(values).tolist() == by_sorting(values, k, signed)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
def test_ties_go_to_the_lower_neuron(share, signed):
    values = attributions(200).round()
    values[:3] = torch.tensor([[0.0], [1.0], [-1.0]])
    kept = TopShare(share, signed)(values)
    k = round(share * 30)
    assert kept.tolist() == by_sorting(values, k, signed)
    assert kept[1].tolist() == [True] * k + [False] * (30 - k)
    cutoff = values.topk(k).values[:, -1:]
    assert ((values == cutoff).sum(dim=1) > 1).double().mean() > 0.5  # so there were ties to break


@pytest.mark.parametrize(
    ("share", "neurons", "kept"),
    [
        (0.05, 14_336, 717),
        (0.05, 458_752, 22_938),
        (0.05, 1536, 77),
        (0.05, 3, 1),
        (0.05, 30, 2),
        (0.05, 50, 3),
        (0.29, 50, 15),  # 14.5 in decimal, slightly less in binary
    ],
)
def test_how_many_are_kept(share, neurons, kept):
    """METHODS.md gives the numbers for Llama 3; rounding is half up, with a minimum of 1."""
    assert TopShare(share)(torch.arange(1.0, neurons + 1)[None]).sum() == kept


def test_only_positive_attributions_are_kept_if_signed():
    values = torch.tensor([[3.0, -5.0, 0.0, 1.0, -2.0, 0.0], [-1.0, -2.0, -3.0, 0.0, 0.0, 0.0]])
    assert TopShare(0.5)(values).nonzero().tolist() == [[0, 0], [0, 3]]
    assert TopShare(0.5, signed=False)(values).nonzero().tolist() == [[0, 0], [0, 1], [0, 4], [1, 0], [1, 1], [1, 2]]


def test_words_are_independent_and_scale_does_not_matter():
    values = attributions()
    scale = torch.rand(40, 1, generator=torch.Generator().manual_seed(1)) + 0.1
    for signed in (True, False):
        kept = TopShare(0.2, signed)(values)
        assert torch.equal(kept, torch.cat([TopShare(0.2, signed)(row[None]) for row in values]))
        assert torch.equal(kept, TopShare(0.2, signed)(values.double() * scale))
    assert torch.equal(TopShare(0.2, False)(values), TopShare(0.2, False)(-values))
    assert not torch.equal(TopShare(0.2)(values), TopShare(0.2)(-values))


@pytest.mark.parametrize("signed", [True, False])
def test_column_layout_works_and_the_input_is_unchanged(signed):
    values = attributions()
    before = values.clone()
    assert torch.equal(TopShare(0.2, signed)(values.T.contiguous().T), TopShare(0.2, signed)(values))
    assert torch.equal(values, before)


@pytest.mark.parametrize("view", [TopShare(0.2), TopShare(0.2, signed=False), TopShare(0.2, of_all_layers=True)])
def test_moments_count_the_kept_words(view):
    values, tags = attributions(300), torch.arange(300) % 3
    result, kept = moments_of(values, tags, 3, view), view(values).double()
    by_tag = torch.stack([kept[tags == tag].mean(dim=0) for tag in range(3)])
    torch.testing.assert_close(result.means(), by_tag, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("at_once", [1, 100, 2**20])
def test_result_does_not_depend_on_the_number_of_words_at_a_time(at_once, monkeypatch):
    values, tags = attributions(), torch.arange(40) % 2
    whole = moments_of(values, tags, 2, TopShare(0.2))
    monkeypatch.setattr("keyneurons.selection.moments.VALUES_AT_ONCE", at_once)
    pieces = moments_of(values, tags, 2, TopShare(0.2))
    kept = [moments.pivot * moments.of_tag + moments.sums for moments in (whole, pieces)]
    assert torch.equal(*kept)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("word", [0, 7])
def test_non_finite_values_are_rejected(bad, signed, word):
    values = attributions()
    values[word, 6] = bad
    with pytest.raises(ColumnError, match="column 6 has an activation that is not finite"):
        moments_of(values, torch.arange(40) % 2, 2, TopShare(0.2, signed))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 5.0, float("nan")])
def test_share_out_of_range(share):
    with pytest.raises(ValueError, match=f"share must lie between 0 and 1.*, got {share}"):
        TopShare(share)
