"""Integrated gradients of functions with known integrals."""

from __future__ import annotations

import pytest
import torch

from keyneurons.attribution.gradients import Gradients
from keyneurons.attribution.integral import Quadrature, integrate

RULES = ("gauss_legendre", "left", "right")


def along(function, activations, baseline=None):
    """Values and gradients of a function of layers ``[words, neurons]`` from a baseline."""
    start = {layer: torch.zeros_like(each) for layer, each in activations.items()} if baseline is None else baseline
    seen = []

    def evaluate(alphas):
        seen.append(alphas)
        points = {
            layer: (start[layer][:, None] + alphas[None, :, None] * (each - start[layer])[:, None]).requires_grad_()
            for layer, each in activations.items()
        }
        target = function(points)
        slopes = torch.autograd.grad(target.sum(), list(points.values()))
        return Gradients(target.detach(), dict(zip(points, slopes, strict=True)))

    return evaluate, {layer: each - start[layer] for layer, each in activations.items()}, seen


def of_power(power, at=2.0, *, rule="gauss_legendre", steps=20, start=0.0):
    """Attribution of one neuron to its own power."""
    evaluate, differences, _ = along(
        lambda points: points[0][..., 0] ** power, {0: torch.tensor([[at]])}, {0: torch.tensor([[start]])}
    )
    result, origin = integrate(evaluate, differences, Quadrature(rule, steps), 50)
    assert float(origin) == pytest.approx(start**power)
    return float(result[0])


@pytest.mark.parametrize(
    ("rule", "square", "cube"), [("gauss_legendre", 4, 8), ("left", 3.80, 7.41), ("right", 4.20, 8.61)]
)
def test_published_values_of_powers(rule, square, cube):
    assert of_power(2, rule=rule) == pytest.approx(square, abs=1e-6)
    # sums of squares: 8.61 and 7.41 to two decimals
    assert of_power(3, rule=rule) == pytest.approx(cube, abs=1e-6 if rule == "gauss_legendre" else 0.0051)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8])
def test_gauss_legendre_is_exact_up_to_its_degree(steps):
    exact = 2 * steps  # its derivative has degree 2 steps - 1
    assert of_power(exact, 1.0, steps=steps) == pytest.approx(1, abs=1e-6)
    # the error at the next degree, n!^4 / (2n + 1) (2n)!^2 ..., exceeds rounding only for few steps
    assert steps > 3 or abs(of_power(exact + 1, 1.0, steps=steps) - 1) > 1e-5


@pytest.mark.parametrize("rule", ["left", "right"])
def test_riemann_sums_have_an_error_of_half_the_last_step(rule):
    errors = [abs(of_power(2, rule=rule, steps=steps) - 4) for steps in (10, 20, 40, 80)]
    assert errors == pytest.approx([0.4, 0.2, 0.1, 0.05], abs=1e-5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [1, 2, 20, 300])
def test_nodes_ascend_within_0_and_1_and_weights_sum_to_1(rule, steps):
    nodes, weights = Quadrature(rule, steps).nodes_and_weights()
    assert len(nodes) == len(weights) == steps
    assert nodes[0] >= 0
    assert nodes[-1] <= 1
    assert nodes == sorted(set(nodes))
    assert sum(weights) == pytest.approx(1, abs=1e-12)
    assert min(weights) > 0


def test_factors_share_their_product():
    both = {0: torch.tensor([[2.0, 3.0], [-1.0, 4.0]])}
    evaluate, differences, _ = along(lambda points: points[0][..., 0] * points[0][..., 1], both)
    result, origin = integrate(evaluate, differences, Quadrature("gauss_legendre", 2), 3)
    torch.testing.assert_close(result[0], torch.tensor([[3.0, 3.0], [-2.0, -2.0]]))
    assert origin.tolist() == [0, 0]


def test_factors_in_two_layers_share_their_product():
    layers = {1: torch.tensor([[2.0, 5.0]]), 3: torch.tensor([[3.0]])}
    evaluate, differences, _ = along(lambda points: points[1][..., 0] * points[3][..., 0], layers)
    result, _ = integrate(evaluate, differences, Quadrature("gauss_legendre", 1), 2)
    torch.testing.assert_close(
        result[1], torch.tensor([[3.0, 0.0]])
    )  # no attribution to neurons that do not affect the target
    torch.testing.assert_close(result[3], torch.tensor([[3.0]]))


def nonlinear(points):
    """A non-polynomial function with interacting neurons."""
    x = points[0]
    return (x[..., 0] * x[..., 1]).sin() + (x[..., 2] - x[..., 0]).exp() / 5 + x.square().sum(-1).log1p()


def nonlinear_case(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    values, start = (torch.randn(5, 4, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    return {0: values}, {0: start}


@pytest.mark.parametrize("copies_at_once", [1, 2, 7, 20, 21, 100])
@pytest.mark.parametrize("rule", RULES)
def test_result_does_not_depend_on_copies_at_once(rule, copies_at_once):
    values, start = nonlinear_case()
    whole, origin = integrate(*along(nonlinear, values, start)[:2], Quadrature(rule, 20), 21)
    evaluate, differences, seen = along(nonlinear, values, start)
    result, again = integrate(evaluate, differences, Quadrature(rule, 20), copies_at_once)
    torch.testing.assert_close(result[0], whole[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(again, origin)
    assert sum(map(len, seen)) == 21
    assert max(map(len, seen)) == min(copies_at_once, 21)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attributions_sum_to_the_change_from_any_baseline(dtype):
    values, start = nonlinear_case(dtype)
    result, origin = integrate(*along(nonlinear, values, start)[:2], Quadrature("gauss_legendre", 40), 10)
    assert result[0].dtype == dtype
    torch.testing.assert_close(origin, nonlinear(start))
    change = nonlinear(values) - nonlinear(start)
    torch.testing.assert_close(result[0].sum(1), change, rtol=1e-5, atol=1e-5)
    # the change depends on the baseline
    from_zero, _ = integrate(*along(nonlinear, values)[:2], Quadrature("gauss_legendre", 40), 10)
    assert (from_zero[0].sum(1) - change).abs().min() > 0.01
    # and coarse sums are inaccurate
    coarse, _ = integrate(*along(nonlinear, values, start)[:2], Quadrature("left", 4), 10)
    assert (coarse[0].sum(1) - change).abs().max() > 0.01


def test_a_baseline_that_is_not_0():
    assert of_power(2, 2.0, start=1.0) == pytest.approx(3, abs=1e-6)
    assert of_power(3, -1.0, start=2.0) == pytest.approx(-9, abs=1e-5)
    assert of_power(2, 3.0, start=3.0) == 0


def test_half_precision_is_summed_in_float32():
    def evaluate(alphas):
        slopes = torch.full((1, len(alphas), 1), 1.0, dtype=torch.bfloat16)
        return Gradients(torch.zeros(1, len(alphas)), {0: slopes})

    result, _ = integrate(evaluate, {0: torch.ones(1, 1)}, Quadrature("left", 1000), 64)
    assert result[0].dtype == torch.float32
    assert float(result[0]) == pytest.approx(1, abs=1e-5)  # in bfloat16 it would stop at 1/4


@pytest.mark.parametrize("steps", [0, -3])
def test_steps_must_be_at_least_1(steps):
    with pytest.raises(ValueError, match=f"^steps must be at least 1, got {steps}$"):
        Quadrature("left", steps)


def test_unknown_rules_are_rejected():
    other = Quadrature("left", 2)
    object.__setattr__(other, "rule", "middle")  # bypasses beartype
    with pytest.raises(ValueError, match="^rule must be gauss_legendre, left or right, got 'middle'$"):
        other.__post_init__()
