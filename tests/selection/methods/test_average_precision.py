"""Average precision against scikit-learn and METHODS.md."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from keyneurons.selection.methods.average_precision import AveragePrecision


def tied(words: int, neurons: int, n_tags: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Values on a coarse grid, half of them 0; neuron 0 is constant, the last two have few ties."""
    generator = torch.Generator().manual_seed(seed)
    tags = torch.randint(n_tags, (words,), generator=generator)
    values = (3 * torch.randn(words, neurons, generator=generator)).round().clamp(min=0) / 8
    values[:, 0] = 0.1
    values[:, -2:] = torch.randn(words, 2, generator=generator) + tags[:, None] * torch.tensor([1.0, -1.0])
    return values, tags


def oracle(values: torch.Tensor, tags: torch.Tensor, tag: int) -> float:
    """Signed lift of one neuron."""
    if (values == values[0]).all():
        return 0.0
    hit, x = (tags == tag).numpy(), values.double().numpy()
    rising, falling = average_precision_score(hit, x), average_precision_score(hit, -x)
    return (rising if rising >= falling else -falling) / hit.mean()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_equals_scikit_learn(dtype):
    values, tags = tied(301, 6, 4)
    values = values.to(dtype)
    scores = AveragePrecision()(values, tags, 4)
    expected = [[oracle(column, tags, tag) for column in values.T] for tag in range(4)]
    np.testing.assert_allclose(scores, expected, rtol=1e-12, atol=0)
    assert scores.min() < -1
    assert not scores[:, 0].any()


def test_number_of_methods_md():
    """y=[1,0,1,0], x=[.9,.8,.7,.1]: .8333 for x, .5 for -x; divided by a prevalence of .5."""
    tags, values = torch.tensor([1, 0, 1, 0]), torch.tensor([0.9, 0.8, 0.7, 0.1])[:, None]
    scores = AveragePrecision()(torch.cat([values, -values], dim=1), tags, 2)
    assert scores[1].tolist() == pytest.approx([2 * 5 / 6, -2 * 5 / 6])
    assert average_precision_score(tags, -values[:, 0]) == pytest.approx(0.5)


def test_one_word_tag():
    values, _ = tied(50, 5, 2)
    tags = torch.zeros(50, dtype=torch.long)
    tags[7] = 1
    scores = AveragePrecision()(values, tags, 2)
    assert scores[1].tolist() == pytest.approx([oracle(column, tags, 1) for column in values.T], rel=1e-12)


def test_perfect_neuron_has_the_maximum_lift():
    tags = torch.tensor([0, 1, 0, 0, 2])
    values = torch.stack([(tags == 1) * 0.5, (tags == 1) * -0.5], dim=1)
    assert AveragePrecision()(values, tags, 3)[1].tolist() == [5.0, -5.0]


def test_zeros_of_either_sign_are_equal():
    values, tags = tied(200, 4, 3)
    signed = torch.where(torch.arange(200)[:, None] % 2 == 0, values, torch.where(values == 0, -0.0, values))
    assert signed.signbit().any()
    assert torch.equal(AveragePrecision()(signed, tags, 3), AveragePrecision()(values, tags, 3))


def test_negated_neuron_changes_sign():
    values, tags = tied(500, 6, 3)
    assert torch.equal(AveragePrecision()(-values, tags, 3), -AveragePrecision()(values, tags, 3))


def test_symmetric_neuron_is_a_tie_with_positive_sign():
    half = torch.randn(200, generator=torch.Generator().manual_seed(0)).abs()
    values, tags = torch.cat([half, -half])[:, None], (torch.arange(400) % 200 % 3 == 0).long()
    assert (AveragePrecision()(values, tags, 2) > 0).all()
    assert (AveragePrecision()(-values, tags, 2) > 0).all()


def test_invariant_to_increasing_transformations():
    values, tags = tied(300, 6, 3)
    assert torch.equal(AveragePrecision()(values.double().exp() * 7 - 5, tags, 3), AveragePrecision()(values, tags, 3))


def test_input_is_unchanged():
    values, tags = tied(30, 4, 2)
    before = values.clone(), tags.clone()
    AveragePrecision()(values, tags, 2)
    assert torch.equal(values, before[0])
    assert torch.equal(tags, before[1])
