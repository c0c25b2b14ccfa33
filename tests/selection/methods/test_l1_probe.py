"""The L1 probe against scikit-learn's solvers and the optimality conditions."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from keyneurons.selection.methods.l1_probe import L1Probe, balanced_problem
from keyneurons.selection.solvers.l1_solver import LogisticProblem
from keyneurons.selection.solvers.quadratic import minimise_quadratic, violation


def correlated(words: int, neurons: int, n_tags: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Neurons with common causes, some of which depend on the tag; tags of falling frequency."""
    generator = torch.Generator().manual_seed(seed)
    frequency = 1 / (torch.arange(n_tags) + 1.0)
    tags = torch.multinomial(frequency, words, replacement=True, generator=generator)
    causes = torch.randn(words, 20, generator=generator) + torch.randn(n_tags, 20, generator=generator)[tags]
    values = causes @ torch.randn(20, neurons, generator=generator) + torch.randn(words, neurons, generator=generator)
    return values.half(), tags


def problem_of(values: torch.Tensor, tags: torch.Tensor, n_tags: int) -> LogisticProblem:
    return balanced_problem(values, tags, torch.bincount(tags, minlength=n_tags))


def standardised(values: torch.Tensor) -> np.ndarray:
    wide = values.double().numpy()
    return (wide - wide.mean(axis=0)) / wide.std(axis=0)


def objective(x: np.ndarray, y: np.ndarray, weights: np.ndarray, bias: float, penalty: float) -> float:
    balance = np.where(y, len(y) / (2 * y.sum()), len(y) / (2 * (~y).sum()))
    margins = (2 * y - 1) * (x @ weights + bias)
    return float((balance * np.logaddexp(0, -margins)).mean() + penalty * np.abs(weights).sum())


def best_bias(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    from scipy.optimize import minimize_scalar

    return float(minimize_scalar(lambda b: objective(x, y, weights, b, 0.0)).x)


@pytest.mark.slow
@pytest.mark.parametrize("C", [0.01, 0.03, 0.3])
def test_same_objective_as_saga(C):
    values, tags = correlated(400, 60, 4)
    scores, x = L1Probe(C=C)(values, tags, 4).numpy(), standardised(values)
    for tag in range(4):
        y = (tags == tag).numpy()
        oracle = LogisticRegression(
            l1_ratio=1, C=C, solver="saga", class_weight="balanced", tol=1e-8, max_iter=20_000, random_state=0
        ).fit(x, y)
        penalty = 1 / (C * len(y))
        ours = objective(x, y, scores[tag], best_bias(x, y, scores[tag]), penalty)
        theirs = objective(x, y, oracle.coef_[0], oracle.intercept_[0], penalty)
        assert ours == pytest.approx(theirs, rel=1e-5)
        assert ours <= theirs * (1 + 1e-6)
        np.testing.assert_allclose(scores[tag], oracle.coef_[0], atol=2e-3 * max(1, np.abs(scores[tag]).max()))


def test_same_objective_as_liblinear_with_a_negligible_bias_penalty():
    """liblinear penalises the bias; a large intercept scaling makes the penalty negligible."""
    values, tags = correlated(400, 40, 3)
    scores, x = L1Probe(C=0.1)(values, tags, 3).numpy(), standardised(values)
    y = (tags == 2).numpy()
    oracle = LogisticRegression(
        l1_ratio=1, C=0.1, solver="liblinear", class_weight="balanced", tol=1e-8, max_iter=5000, intercept_scaling=100
    ).fit(x, y)
    ours = objective(x, y, scores[2], best_bias(x, y, scores[2]), 1 / 40)
    theirs = objective(x, y, oracle.coef_[0], oracle.intercept_[0], 1 / 40)
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_conditions_of_optimality_hold_at_every_neuron():
    values, tags = correlated(500, 80, 5)
    penalty = 1 / (0.1 * 500)
    scores, x = L1Probe(C=0.1, tolerance=1e-5)(values, tags, 5), standardised(values)
    for tag in range(5):
        y, w = (tags == tag).numpy(), scores[tag].numpy()
        balance = np.where(y, 250 / y.sum(), 250 / (~y).sum())
        probability = 1 / (1 + np.exp(-(x @ w + best_bias(x, y, w))))
        gradient = x.T @ (balance * (probability - y)) / 500
        assert np.abs(gradient).max() <= penalty * (1 + 1e-3)
        np.testing.assert_allclose(gradient[w != 0], -penalty * np.sign(w[w != 0]), rtol=1e-3)


@pytest.mark.slow
def test_path_stops_at_the_first_penalty_with_enough_weights():
    values, tags = correlated(300, 60, 3)
    problem = problem_of(values, tags, 3)
    largest = problem.start().gradient.abs().amax(dim=1)
    scores = L1Probe(n_nonzero=7)(values, tags, 3)
    for tag in range(3):
        assert scores[tag].count_nonzero() >= 7
        for step in range(1, 61):
            penalty = largest[tag].item() * 10 ** (-step / 20)
            on_path = L1Probe(C=1 / (300 * penalty))(values, tags, 3)[tag]
            if on_path.count_nonzero() >= 7:
                torch.testing.assert_close(scores[tag], on_path, atol=1e-3, rtol=1e-2)
                break


def test_largest_penalty_gives_zero_weights_and_the_next_does_not():
    values, tags = correlated(300, 30, 3)
    largest = problem_of(values, tags, 3).start().gradient.abs().amax().item()
    assert not L1Probe(C=0.999 / (300 * largest))(values, tags, 3).any()
    assert L1Probe(C=1.05 / (300 * largest))(values, tags, 3).count_nonzero() >= 1


def test_rare_tag_of_one_word():
    values, tags = correlated(300, 30, 2)
    tags[tags == 1] = 0
    tags[17] = 1
    assert (L1Probe(n_nonzero=3)(values, tags, 2).count_nonzero(dim=1) >= 3).all()


def test_tag_with_too_few_weights_is_named():
    values, tags = correlated(300, 30, 3)
    values[:, 5:] = 1
    with pytest.raises(ValueError, match="tag 0 has 5 non-zero weights at the end of the path.*fewer than n_nonzero=6"):
        L1Probe(n_nonzero=6)(values, tags, 3)


def test_too_few_weights_at_a_fixed_penalty_are_an_error():
    values, tags = correlated(300, 30, 3)
    enough = L1Probe(C=0.01)(values, tags, 3)
    fewest = int(enough.count_nonzero(dim=1).min())
    assert torch.equal(L1Probe(n_nonzero=fewest, C=0.01)(values, tags, 3), enough)
    with pytest.raises(ValueError, match=f"tag . has {fewest} non-zero weights at C=0.01"):
        L1Probe(n_nonzero=fewest + 1, C=0.01)(values, tags, 3)


def test_more_weights_than_neurons():
    values, tags = correlated(300, 30, 3)
    with pytest.raises(ValueError, match=r"n_nonzero must lie in 1\.\.30 .* got 31"):
        L1Probe(n_nonzero=31)(values, tags, 3)


@pytest.mark.parametrize(
    "options",
    [{}, {"n_nonzero": 0}, {"n_nonzero": -1, "C": 1.0}, {"C": -1.0}, {"C": torch.inf}, {"C": 1.0, "tolerance": 0.0}],
)
def test_illegal_options(options):
    with pytest.raises(ValueError, match="got"):
        L1Probe(**options)


def test_quadratic_of_one_weight_is_a_soft_threshold():
    gradient = torch.tensor([[-3.0], [0.5], [2.0]], dtype=torch.float64)
    hessian = torch.full((3, 1, 1), 2.0, dtype=torch.float64)
    start, penalty = torch.zeros(3, 1).double(), torch.ones(3, 1).double()
    result = minimise_quadratic(gradient, hessian, start, penalty, torch.full((3,), 1e-12).double())
    torch.testing.assert_close(result, torch.tensor([[1.0], [0.0], [-0.5]]).double())
    assert violation(gradient + 2 * result, result, penalty).max() <= 1e-12


@pytest.mark.slow
def test_chunks_change_results_only_by_rounding(monkeypatch):
    values, tags = correlated(300, 50, 4)
    whole = L1Probe(n_nonzero=5)(values, tags, 4)
    monkeypatch.setattr("keyneurons.selection.solvers.l1_solver.BYTES_AT_ONCE", 1)
    torch.testing.assert_close(L1Probe(n_nonzero=5)(values, tags, 4), whole, atol=1e-3, rtol=1e-2)


@pytest.mark.slow
def test_real_size_takes_seconds():
    values, tags = correlated(8000, 1536, 15)
    start = time.process_time()
    scores = L1Probe(n_nonzero=10)(values, tags, 15)
    assert time.process_time() - start < 60
    assert (scores.count_nonzero(dim=1) >= 10).all()
