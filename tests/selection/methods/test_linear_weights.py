"""Mean weights of a multinomial probe against scikit-learn's lbfgs at the same penalty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from keyneurons.selection.methods.linear_weights import LinearWeights


def correlated() -> tuple[torch.Tensor, torch.Tensor]:
    """Neurons with shared heavy-tailed factors; neurons 0 to 3 each mark a tag."""
    generator = torch.Generator().manual_seed(0)
    tags = torch.randint(4, (500,), generator=generator)
    factors = torch.randn(500, 5, generator=generator) ** 3
    values = factors @ torch.randn(5, 40, generator=generator) + torch.randn(500, 40, generator=generator)
    values[:, :4] += 4 * torch.nn.functional.one_hot(tags, 4)
    return values, tags


@pytest.mark.parametrize("l2", [0.001, 0.01])
def test_scores_are_the_mean_weights_of_lbfgs(l2):
    values, tags = correlated()
    wide = values.double().numpy()
    x = (wide - wide.mean(axis=0)) / wide.std(axis=0)
    oracle = LogisticRegression(C=1 / (2 * l2 * len(x)), tol=1e-9, max_iter=10_000).fit(x, tags.numpy())
    expected = np.abs(oracle.coef_).mean(axis=0)
    scores = LinearWeights(l2, 1e-5)(values, tags, 4).numpy()
    np.testing.assert_allclose(scores, np.tile(expected, (4, 1)), rtol=0, atol=1e-3 * expected.max())


def test_shuffled_tags_do_not_rank_the_marking_neurons_first():
    values, tags = correlated()
    shuffled = tags[torch.randperm(500, generator=torch.Generator().manual_seed(1))]
    marking = LinearWeights(0.01)(values, tags, 4)[0, :4].min()
    assert LinearWeights(0.01)(values, shuffled, 4)[0, :4].max() < 0.5 * marking
