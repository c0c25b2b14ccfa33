"""The multinomial probe against scikit-learn at the same penalty, and its two scorers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from keyneurons.selection.methods.elastic_net import ElasticNet
from keyneurons.selection.methods.linear_weights import LinearWeights
from keyneurons.selection.solvers.multinomial import multinomial_weights, standardised


def correlated(words: int = 500, neurons: int = 40, n_tags: int = 4, seed: int = 0):
    """Neurons with shared heavy-tailed factors; some mark a tag."""
    generator = torch.Generator().manual_seed(seed)
    tags = torch.randint(n_tags, (words,), generator=generator)
    factors = torch.randn(words, 5, generator=generator) ** 3
    values = factors @ torch.randn(5, neurons, generator=generator) + torch.randn(words, neurons, generator=generator)
    values[:, :n_tags] += 4 * torch.nn.functional.one_hot(tags, n_tags)
    return values * 10 + 100, tags


def objective(weights: np.ndarray, bias: np.ndarray, x: np.ndarray, tags: np.ndarray, l1: float, l2: float) -> float:
    logits = x @ weights.T + bias
    entropy = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(tags)), tags]
    return float(entropy.mean() + l1 * np.abs(weights).sum() + l2 * (weights**2).sum())


def best_bias(weights: np.ndarray, x: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """The optimal bias for these weights, by Newton steps."""
    bias = np.zeros(len(weights))
    for _ in range(50):
        logits = x @ weights.T + bias
        p = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
        gradient = p.mean(0) - np.bincount(tags, minlength=len(bias)) / len(tags)
        hessian = np.diag(p.mean(0)) - p.T @ p / len(tags)
        bias = bias - np.linalg.lstsq(hessian, gradient, rcond=None)[0]
    return bias


@pytest.mark.slow
@pytest.mark.parametrize(("l1", "l2"), [(0.01, 0.01), (0.003, 0.0), (0.0, 0.01)])
def test_objective_is_that_of_scikit_learn(l1, l2):
    values, tags = correlated()
    x = standardised(values).T.double().numpy()
    total = l1 + 2 * l2
    theirs = LogisticRegression(
        solver="saga", l1_ratio=l1 / total, C=1 / (total * len(tags)), tol=1e-6, max_iter=20_000, penalty="elasticnet"
    ).fit(x, tags.numpy())
    ours = multinomial_weights(standardised(values), tags, 4, l1, l2, 1e-5).numpy()
    reached = objective(ours, best_bias(ours, x, tags.numpy()), x, tags.numpy(), l1, l2)
    reference = objective(theirs.coef_, best_bias(theirs.coef_, x, tags.numpy()), x, tags.numpy(), l1, l2)
    assert reference * (1 - 1e-4) < reached < reference * (1 + 1e-5)  # saga stops slightly above the minimum
    if l2:  # then the minimum is unique
        np.testing.assert_allclose(ours, theirs.coef_, atol=2e-3)


def test_subgradients_are_within_the_tolerance():
    values, tags = correlated()
    weights = ElasticNet(0.01, 0.01, 1e-5)(values, tags, 4).numpy()
    x = standardised(values).T.double().numpy()
    logits = x @ weights.T + best_bias(weights, x, tags.numpy())
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    slope = (p - np.eye(4)[tags.numpy()]).T @ x / len(x) + 0.02 * weights
    assert np.abs(slope[weights != 0] + 0.01 * np.sign(weights[weights != 0])).max() < 2e-5
    assert np.abs(slope[weights == 0]).max() < 0.01 + 2e-5
    assert 0 < (weights != 0).sum() < weights.size


def test_a_large_penalty_gives_zero_weights_and_a_small_one_does_not():
    values, tags = correlated()
    assert not ElasticNet(1.0, 0.01)(values, tags, 4).any()
    assert ElasticNet(0.01, 0.01)(values, tags, 4).argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_copies_share_their_weight_with_an_l2_penalty():
    values, tags = correlated()
    twice = torch.cat([values, values[:, :1]], dim=1)
    shared = ElasticNet(0.003, 0.03, 1e-5)(twice, tags, 4)[0]
    assert shared[0].item() == pytest.approx(shared[40].item(), abs=1e-3)
    assert shared[0] > 0.05


def test_mean_weights_are_equal_for_every_tag():
    values, tags = correlated()
    scores = LinearWeights(0.01, 1e-5)(values, tags, 4)
    weights = ElasticNet(0.0, 0.01, 1e-5)(values, tags, 4)
    assert scores.shape == (4, 40)
    torch.testing.assert_close(scores, weights.abs().mean(dim=0).expand(4, -1))
    assert set(scores[0].topk(4).indices.tolist()) == {0, 1, 2, 3}


def test_constant_neurons_score_zero():
    values, tags = correlated()
    values[:, 7] = 0.1
    assert not ElasticNet(0.001, 0.01)(values, tags, 4)[:, 7].any()
    assert not LinearWeights(0.01)(values, tags, 4)[:, 7].any()
    assert not ElasticNet(0.001, 0.01)(values[:, 7:8], tags, 4).any()


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (-0.1, 1.0), (0.1, float("inf"))])
def test_penalties_out_of_range(l1, l2):
    with pytest.raises(ValueError, match="l1 and l2 must be finite, not negative and not both 0"):
        ElasticNet(l1, l2)


def test_other_options_out_of_range():
    with pytest.raises(ValueError, match="l2 must be above 0 and finite, got 0"):
        LinearWeights(0.0)
    for scorer in (lambda t: ElasticNet(0.1, 0.1, t), lambda t: LinearWeights(0.1, t)):
        with pytest.raises(ValueError, match="tolerance must lie between 0 and 1"):
            scorer(1.0)


def test_missing_convergence_raises(monkeypatch):
    values, tags = correlated()
    monkeypatch.setattr("keyneurons.selection.solvers.multinomial.MAX_STEPS", 20)
    with pytest.raises(ValueError, match="did not reach .* in 20 steps"):
        ElasticNet(0.001, 0.001, 1e-6)(values, tags, 4)
