"""Relevance propagation: values stay, relevance is conserved, patterns are constant."""

from __future__ import annotations

import pytest
import torch
from attributing import n_hooks, predicted

from keyneurons.attribution.linearised import linearised
from keyneurons.attribution.paths import GradientPath, RelevancePath
from keyneurons.attribution.recording import Positions, record
from keyneurons.models.families import FAMILIES, block_modules, submodule

LAYERS = (0, 1, 2, 3)
CAUSAL = sorted(kind for kind, family in FAMILIES.items() if family.causal)


def relevance(words, path=None):
    zero = {layer: torch.zeros(each.shape[1]) for layer, each in words.recording.activations.items()}
    found = (path or RelevancePath())(words.differentiator(), words.recording, words.tokens, zero, 1)
    return found.by_layer


def slope_of(words):
    """Gradient of the target with respect to the last norm's output."""
    final = words.recording.final
    return words.differentiator()._head(final.clone(), words.tokens)[1]


@pytest.mark.parametrize("kind", CAUSAL)
def test_the_first_token_conserves_relevance_in_every_layer(tiny, kind):
    """It attends to itself alone, and tiny models have no biases other than 0."""
    model = tiny(kind)
    base, family = model.predictor.base, model.family
    ids = torch.tensor([[7, 30, 12]])
    positions = Positions(torch.tensor([0]), torch.tensor([0]))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    recording = record(base, family, "residual", LAYERS, inputs, positions)
    words = predicted(model, "residual")
    before = n_hooks(base)
    with linearised(base, family, recording.calls[0].keys.shape[3]):
        final, activations = words.differentiator().run(recording, slice(None), dict.fromkeys(LAYERS), 1)
    assert n_hooks(base) == before
    torch.testing.assert_close(final[:, 0], recording.final, atol=1e-5, rtol=1e-5)
    slope = torch.linspace(-1, 1, final.shape[-1])
    gradients = torch.autograd.grad(final, [activations[layer] for layer in LAYERS], slope.expand_as(final))
    expected = (final * slope).sum().detach()
    for layer, gradient in zip(LAYERS, gradients, strict=True):
        torch.testing.assert_close((gradient * activations[layer]).sum().detach(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2", "gpt_neox"])
def test_the_last_layer_by_hand(tiny, kind):
    model = tiny(kind)
    words = predicted(model, "mlp")
    hidden = predicted(model, "residual").recording.activations[3]
    norm, mlp = model.predictor.norm, submodule(block_modules(model.predictor.base, model.family)[3], model.family.mlp)
    slope = slope_of(words) * norm.weight
    if kind in {"llama", "qwen3"}:
        slope = slope / (hidden.pow(2).mean(1, keepdim=True) + model.config.rms_norm_eps).sqrt()
    else:
        deviation = (hidden.var(1, correction=0, keepdim=True) + norm.eps).sqrt()
        slope = (slope - slope.mean(1, keepdim=True)) / deviation
    weight = mlp.weight if kind != "gpt2" else mlp.weight.T
    expected = words.recording.activations[3] * (slope @ weight)
    torch.testing.assert_close(relevance(words)[3], expected.detach(), rtol=1e-3, atol=1e-6)


def test_a_gate_has_half_of_the_relevance_of_its_product(llama):
    product, gate = relevance(predicted(llama, "mlp")), relevance(predicted(llama, "mlp_gate"))
    for layer in LAYERS:
        torch.testing.assert_close(gate[layer], product[layer] / 2, rtol=1e-3, atol=1e-6)


def test_an_activation_function_passes_all_relevance(tiny):
    gpt2 = tiny("gpt2")
    outputs, inputs = relevance(predicted(gpt2, "mlp")), relevance(predicted(gpt2, "mlp_gate"))
    torch.testing.assert_close(inputs[1], outputs[1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox"])
def test_queries_and_keys_carry_no_relevance(tiny, kind):
    """Their weights have no gradient."""
    model = tiny(kind)
    words = predicted(model, "residual")
    parameters = {
        name: parameter for name, parameter in model.predictor.base.named_parameters()
        if any(name.endswith(f"{path}.weight") for path in model.family.query_key)
    }  # fmt: skip
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    with linearised(model.predictor.base, model.family, words.recording.calls[0].keys.shape[3]):
        final, _ = words.differentiator().run(words.recording, slice(None), dict.fromkeys((0,)), 1)
    gradients = torch.autograd.grad(final.sum(), list(parameters.values()), allow_unused=True)
    assert len(parameters) == 4 * len(model.family.query_key)
    for gradient in gradients:
        if model.family.fused is None:
            assert gradient is None
        elif gradient is not None:
            rows = gradient.T if kind == "gpt2" else gradient  # [outputs, inputs]
            size = len(rows) // 3 if model.family.fused == "thirds" else words.recording.calls[0].keys.shape[3]
            parts = rows.view(-1, 3, size, rows.shape[1])
            assert not parts[:, :2].any()
            assert parts[:, 2].any()


def test_relevance_is_not_the_plain_gradient(llama):
    words = predicted(llama, "mlp")
    plain, linear = relevance(words, GradientPath()), relevance(words)
    assert not torch.allclose(plain[0], linear[0], rtol=0.1, atol=0)


def test_an_unknown_attention_is_refused(tiny):
    modules = {"blocks": "layers", "mlp": "mlp.c_proj", "mlp_gate": "mlp.act", "attention": "self_attn.o_proj"}
    model = tiny("starcoder2", modules={**modules, "norm": "norm"})
    with pytest.raises(
        ValueError, match="relp knows the attention of the families of keyneurons only, not of starcoder2"
    ):
        relevance(predicted(model, "mlp"))
