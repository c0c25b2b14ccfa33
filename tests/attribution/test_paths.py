"""Attributions against full forward passes, autograd, captum, and lesions of single neurons."""

from __future__ import annotations

import functools

import pytest
import torch
from attributing import TEXTS, WORDS, predicted
from captum.attr import LayerIntegratedGradients
from scipy.special import roots_legendre
from scipy.stats import spearmanr
from torch import nn
from transformers import AutoModelForCausalLM

from keyneurons.activations.capture import hook_site
from keyneurons.attribution.integral import Quadrature
from keyneurons.attribution.paths import GradientPath, JointPath, LayerPath

TARGETS = ("probability", "log_probability")
BASELINES = ("zero", "other")
TWENTY = Quadrature("gauss_legendre", 20)
LAYERS = (0, 1, 2, 3)


def baseline_of(words, kind):
    """Zeros, or values that differ between neurons."""
    generator = torch.Generator().manual_seed(5)
    return {
        layer: torch.randn(each.shape[1], generator=generator) * each.std() * (kind == "other")
        for layer, each in words.recording.activations.items()
    }


def attributions(words, path, target="probability", baseline=None, copies=21):
    given = baseline_of(words, "zero") if baseline is None else baseline
    return path(words.differentiator(target), words.recording, words.tokens, given, copies)


def value(log_probability, target):
    return log_probability if target == "log_probability" else log_probability.exp()


def whole_change(words, target, changed):
    """Change of the target between two full forward passes when layers change from other values."""
    with torch.no_grad():
        put = {layer: each.expand(len(words.tokens), 1, -1) for layer, each in changed.items()}
        return (value(words.whole(), target) - value(words.whole(put), target))[:, 0]


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("site", "steps"), [("mlp", 20), ("mlp_gate", 20), ("attention", 100)])
def test_attributions_of_a_layer_sum_to_its_change(llama, site, steps, target, baseline):
    words = predicted(llama, site)
    start = baseline_of(words, baseline)
    actual = attributions(words, LayerPath(Quadrature("gauss_legendre", steps)), target, start)
    for layer in LAYERS:
        change = whole_change(words, target, {layer: start[layer]})
        assert change.abs().min() > 1e-6
        torch.testing.assert_close(actual.change[layer], change, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(actual.by_layer[layer].sum(1), change, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("site", "steps"), [("mlp", 20), ("mlp_gate", 20), ("attention", 100)])
def test_attributions_of_all_layers_sum_to_their_joint_change(llama, site, steps, target, baseline):
    words = predicted(llama, site)
    start = baseline_of(words, baseline)
    actual = attributions(words, JointPath(Quadrature("gauss_legendre", steps)), target, start)
    change = whole_change(words, target, start)
    assert change.abs().min() > 1e-6
    for layer in LAYERS:
        torch.testing.assert_close(actual.change[layer], change, rtol=1e-4, atol=1e-6)
    total = sum(each.sum(1) for each in actual.by_layer.values())
    torch.testing.assert_close(total, change, rtol=1e-3, atol=1e-6)
    # one layer at a time gives another result
    alone = attributions(words, LayerPath(TWENTY), target, start)
    assert not torch.allclose(sum(each.sum(1) for each in alone.by_layer.values()), change, rtol=0.05, atol=0)


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("joint", [False, True], ids=["layer", "joint"])
def test_integrals_equal_full_forward_passes(llama, joint, baseline):
    words = predicted(llama, "mlp", (1, 3))
    start, held = baseline_of(words, baseline), words.recording.activations
    roots, weights = roots_legendre(7)
    expected = {layer: torch.zeros_like(each) for layer, each in held.items()}
    for root, weight in zip(roots, weights, strict=True):
        points = {n: (start[n] + (1 + root) / 2 * (held[n] - start[n]))[:, None].requires_grad_() for n in held}
        for group in [points] if joint else [{layer: point} for layer, point in points.items()]:
            slopes = torch.autograd.grad(words.whole(group).exp().sum(), list(group.values()))
            for layer, slope in zip(group, slopes, strict=True):
                expected[layer] += weight / 2 * slope[:, 0] * (held[layer] - start[layer])
    path = (JointPath if joint else LayerPath)(Quadrature("gauss_legendre", 7))
    actual = attributions(words, path, "probability", start)
    for layer in held:
        largest = float(expected[layer].abs().max())
        torch.testing.assert_close(actual.by_layer[layer], expected[layer], rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("target", TARGETS)
def test_gradient_times_activation_equals_that_of_the_whole_model(llama, target):
    words = predicted(llama)
    actual = attributions(words, GradientPath(), target)
    assert actual.change is None
    plain = AutoModelForCausalLM.from_pretrained(words.model.files.path).eval()
    kept = {}

    def keep(layer, _, inputs):
        kept[layer] = inputs[0]
        inputs[0].retain_grad()

    for layer in LAYERS:
        plain.model.layers[layer].mlp.down_proj.register_forward_pre_hook(functools.partial(keep, layer))
    for i in range(len(WORDS)):  # one by one: gradients of words are independent
        at = words.positions.sentence[i], words.positions.token[i]
        logits = plain(**words.inputs).logits[at]
        target_value = value(logits.log_softmax(0)[words.tokens[i]], target)
        target_value.backward()
        for layer in LAYERS:
            expected = (kept[layer] * kept[layer].grad)[at].detach()
            largest = float(expected.abs().max())
            assert largest > 0
            torch.testing.assert_close(actual.by_layer[layer][i], expected, rtol=0, atol=1e-5 * largest)


def test_gradient_from_a_baseline(llama):
    words = predicted(llama)
    start, held = baseline_of(words, "other"), words.recording.activations
    plain, moved = (attributions(words, GradientPath(), baseline=b).by_layer for b in (None, start))
    for layer in LAYERS:
        expected = plain[layer] / held[layer] * (held[layer] - start[layer])
        torch.testing.assert_close(moved[layer], expected, rtol=1e-4, atol=1e-7)


class OnePosition(nn.Module):
    """Model whose submodule outputs one layer's activation for one word, for captum to scale.

    The input goes from 0, which gives the baseline, to 1, which gives the activation.
    """

    def __init__(self, words, layer, baseline):
        super().__init__()
        self.probe = nn.Identity()
        self._words, self._layer, self._baseline = words, layer, baseline

    def forward(self, share):
        words, at = self._words, int(self._words.positions.token)

        def through(carried):
            start = self._baseline[self._layer]
            return torch.cat([
                carried[:, :at],
                self.probe(start + share * (carried[:, at] - start))[:, None],
                carried[:, at + 1 :],
            ], 1)  # fmt: skip

        base, family = words.model.predictor.base, words.model.family
        rows = {name: v.expand(len(share), -1) if torch.is_tensor(v) else v for name, v in words.inputs.items()}
        with hook_site(base, family, words.site, {self._layer: through}):
            hidden = base(**rows).last_hidden_state[:, at]
        return words.model.predictor.log_probability(hidden, words.tokens.expand(len(share))).exp()


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize(("rule", "method"), [("gauss_legendre", "gausslegendre"), ("left", "riemann_left")])
@pytest.mark.parametrize("site", ["mlp", "attention"])
def test_captum_agrees(llama, site, rule, method, baseline):
    words = predicted(llama, site, (1,), [(1, 7)])
    start = baseline_of(words, baseline)
    model = OnePosition(words, 1, start)
    expected = LayerIntegratedGradients(model, model.probe).attribute(
        torch.ones(1, 1), torch.zeros(1, 1), n_steps=20, method=method
    )
    actual = attributions(words, LayerPath(Quadrature(rule, 20)), "probability", start).by_layer[1]
    largest = float(expected.abs().max())
    assert largest > 1e-6
    torch.testing.assert_close(actual, expected.detach(), rtol=0, atol=1e-5 * largest)


def removed(words, layer):
    """Change of log-probability when a single neuron is set to 0, by full forward passes."""
    held = words.recording.activations[layer]
    n = held.shape[1]
    without = held[:, None].repeat(1, n, 1)
    without[:, range(n), range(n)] = 0
    with torch.no_grad():
        return words.whole() - words.whole({layer: without}, copies=n)


@pytest.mark.parametrize("layer", LAYERS)
def test_lesions_of_small_neurons_match_the_gradient(llama, layer):
    words = predicted(llama, layers=(layer,))
    held, effect = words.recording.activations[layer], removed(words, layer)
    guess = attributions(words, GradientPath(), "log_probability").by_layer[layer]
    for word in range(len(WORDS)):
        small = held[word].abs().argsort()[:24]
        measurable = small[effect[word, small].abs() > 1e-5]  # above float32 rounding
        assert len(measurable) > 10
        assert spearmanr(guess[word, measurable], effect[word, measurable])[0] > 0.9
        assert (guess[word, measurable].sign() == effect[word, measurable].sign()).float().mean() > 0.9


def test_a_neuron_scaled_alone_is_attributed_its_lesion_effect(llama):
    words = predicted(llama, layers=(2,), words=WORDS[:1])
    held, effect = words.recording.activations[2], removed(words, 2)[0]
    for neuron in effect.abs().topk(5).indices.tolist():
        start = {2: held[0].clone()}
        start[2][neuron] = 0

        def actual(rule, steps, start=start):
            path = LayerPath(Quadrature(rule, steps))
            return attributions(words, path, "log_probability", start).by_layer[2][0]

        exact = actual("gauss_legendre", 20)
        assert float(exact[neuron]) == pytest.approx(float(effect[neuron]), abs=1e-5)
        assert exact.count_nonzero() == 1
        errors = [abs(float(actual("left", steps)[neuron] - effect[neuron])) for steps in (4, 32, 256)]
        assert errors[0] > errors[1] > errors[2]


FEW = Quadrature("gauss_legendre", 6)
PATHS = (LayerPath(FEW), JointPath(FEW), GradientPath())


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_attributions_of_a_word_are_independent_of_other_words(llama, path):
    whole = attributions(predicted(llama), path)
    for i, word in enumerate(WORDS):
        for beside in ((), (max(range(len(TEXTS)), key=lambda s: len(TEXTS[s].text)),)):
            for pad_left in (False, True):
                alone = predicted(llama, words=[word], beside=beside, pad_left=pad_left)
                actual = attributions(alone, path)
                for layer in LAYERS:
                    expected = whole.by_layer[layer][i]
                    largest = float(expected.abs().max())
                    torch.testing.assert_close(actual.by_layer[layer][0], expected, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("path", PATHS[:2], ids=lambda path: type(path).__name__)
@pytest.mark.parametrize("copies", [1, 4, 6])
def test_copies_may_be_split_into_batches(llama, path, copies):
    words = predicted(llama)
    together, apart = attributions(words, path), attributions(words, path, copies=copies)
    for layer in LAYERS:
        largest = float(together.by_layer[layer].abs().max())
        torch.testing.assert_close(apart.by_layer[layer], together.by_layer[layer], rtol=0, atol=1e-5 * largest)
        torch.testing.assert_close(apart.change[layer], together.change[layer], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_attributions_are_to_the_token_of_the_word(llama, path):
    words = predicted(llama)
    right, wrong = (
        path(words.differentiator(), words.recording, tokens, baseline_of(words, "zero"), 21).by_layer
        for tokens in (words.tokens, words.tokens.roll(1))
    )
    for layer in LAYERS:
        for mine, other in zip(right[layer], wrong[layer], strict=True):
            assert (mine - other).abs().max() > 0.1 * mine.abs().max()


def test_layer_attributions_do_not_depend_on_other_layers(llama):
    every = attributions(predicted(llama), LayerPath(TWENTY))
    alone = attributions(predicted(llama, layers=(2,)), LayerPath(TWENTY))
    assert torch.equal(alone.by_layer[2], every.by_layer[2])
    # joint attributions depend on the other layers
    every, alone = (attributions(predicted(llama, layers=layers), JointPath(TWENTY)) for layers in (LAYERS, (2,)))
    assert not torch.allclose(alone.by_layer[2], every.by_layer[2], rtol=0.01, atol=0)


def test_attribution_in_half_precision(tiny):
    full, half = (predicted(tiny(dtype=dtype)) for dtype in ("float32", "bfloat16"))
    for path in PATHS:
        exact, rough = (attributions(words, path, "log_probability").by_layer for words in (full, half))
        for layer in LAYERS:
            assert rough[layer].dtype == torch.float32
            correlation = torch.corrcoef(torch.stack([exact[layer].flatten(), rough[layer].flatten()]))[0, 1]
            assert correlation > 0.95


def test_the_residual_is_attributed_between_two_of_its_values(llama):
    # not from 0, where the next norm makes the target discontinuous
    words = predicted(llama, "residual")
    start = {layer: each.roll(1, 0)[0] for layer, each in words.recording.activations.items()}
    actual = attributions(words, LayerPath(Quadrature("gauss_legendre", 60)), "log_probability", start)
    for layer in LAYERS:
        change = whole_change(words, "log_probability", {layer: start[layer]})[:-1]
        torch.testing.assert_close(actual.by_layer[layer].sum(1)[:-1], change, rtol=1e-3, atol=1e-4)


def test_the_residual_cannot_be_scaled_jointly(llama):
    # fixed in one layer, it is independent of lower layers: only the last would have attributions
    words = predicted(llama, "residual")
    with pytest.raises(ValueError, match="residual"):
        attributions(words, JointPath(TWENTY))
