"""Resuming from a recording equals a full forward pass with other activations, with gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attributing import ALL, TEXTS, WORDS, n_hooks, predicted
from models import GATED, SHAPES, tiny_tokenizer
from transformers import AutoModelForCausalLM

from keyneurons.activations.alignment import Encoder
from keyneurons.attribution.passes import Attributor
from keyneurons.attribution.paths import GradientPath
from keyneurons.attribution.targets import predictable
from keyneurons.models.families import FAMILIES

KINDS = [kind for kind in SHAPES if kind in FAMILIES and FAMILIES[kind].causal]
SITES = ("mlp", "mlp_gate", "attention", "residual")
LIKE_LLAMA = {
    "blocks": "layers",
    "mlp": "mlp.c_proj",
    "mlp_gate": "mlp.act",
    "attention": "self_attn.o_proj",
    "norm": "norm",
}
SLIDING = {"mistral", "gemma2", "gemma3_text"}
WINDOW = {"sliding_window": 6}
# gemma 2 caps attention scores, which sdpa does not support
ATTENTION = [
    (kind, way) for kind in (*KINDS, "starcoder2") for way in ("sdpa", "eager") if (kind, way) != ("gemma2", "sdpa")
]
TOLERANCE = 1e-5  # float32, some ten matrix products


def loaded(tiny, kind, attention=None, **changes):
    """A model with either attention implementation."""
    options = {"modules": LIKE_LLAMA} if kind == "starcoder2" else {}
    model = tiny(kind, {**(WINDOW if kind in SLIDING else {}), **changes}, **options)
    if attention is not None:
        model.predictor.base.set_attn_implementation(attention)
    return model


@pytest.mark.parametrize("pad_left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize(("kind", "attention"), ATTENTION)
def test_resuming_equals_a_full_forward_pass(tiny, kind, attention, pad_left):
    model = loaded(tiny, kind, attention)
    assert model.predictor.base.config._attn_implementation == attention
    for site in SITES:
        words = predicted(model, site, (0, 3), pad_left=pad_left)
        recording = words.recording
        assert words.inputs["attention_mask"].min() == 0  # sanity check: there is padding
        for layer, activation in recording.activations.items():
            copies = torch.stack([activation, activation / 2 + activation.roll(1, 1)], 1)
            result = words.differentiator()(recording, ALL, words.tokens, {layer: copies}, 2)
            leaf = copies.clone().requires_grad_()
            target = words.whole({layer: leaf}, copies=2)
            slope = torch.autograd.grad(target.sum(), leaf)[0]
            torch.testing.assert_close(result.target, target.detach(), rtol=0, atol=TOLERANCE)
            largest = slope.abs().amax(2, keepdim=True)
            assert (largest > 0).all()
            assert ((result.by_layer[layer] - slope).abs() <= TOLERANCE * largest).all(), (site, layer)
            # sanity check: the substitution has an effect
            assert (target[:, 1] - target[:, 0]).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_several_layers_are_substituted_at_once(tiny, kind):
    words = predicted(loaded(tiny, kind), "mlp", (1, 2, 3))
    recording = words.recording
    leaves = {
        layer: (torch.tensor([1.0, 0.5, 0.0])[:, None] * each[:, None]).requires_grad_()
        for layer, each in recording.activations.items()
    }
    held = {layer: leaf.detach() for layer, leaf in leaves.items()}
    result = words.differentiator()(recording, ALL, words.tokens, held, 3)
    target = words.whole(leaves, copies=3)
    torch.testing.assert_close(result.target, target.detach(), rtol=0, atol=TOLERANCE)
    for layer, slope in zip(leaves, torch.autograd.grad(target.sum(), list(leaves.values())), strict=True):
        torch.testing.assert_close(result.by_layer[layer], slope, rtol=0, atol=TOLERANCE * float(slope.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_resuming_without_substitutes_reproduces_the_model(tiny, kind):
    words = predicted(loaded(tiny, kind), "residual")
    recording, differentiate = words.recording, words.differentiator()
    whole = words.whole().detach()[:, 0]
    torch.testing.assert_close(differentiate.recorded(recording, words.tokens), whole, rtol=0, atol=TOLERANCE)
    for layer in words.layers:
        again = differentiate(recording, ALL, words.tokens, {layer: None}).target[:, 0]
        torch.testing.assert_close(again, whole, rtol=0, atol=TOLERANCE)
    probability = words.differentiator("probability").recorded(recording, words.tokens)
    torch.testing.assert_close(probability, whole.exp(), rtol=TOLERANCE, atol=0)


def test_a_subset_of_words(tiny):
    words = predicted(loaded(tiny, "llama"))
    recording, differentiate = words.recording, words.differentiator()
    every = differentiate(recording, ALL, words.tokens, {1: recording.activations[1][:, None] / 2})
    for some in (slice(0, 1), slice(1, 3), slice(3, 4)):
        result = differentiate(recording, some, words.tokens, {1: recording.activations[1][some][:, None] / 2})
        torch.testing.assert_close(result.target, every.target[some], rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(result.by_layer[1], every.by_layer[1][some], rtol=0, atol=TOLERANCE)


def test_the_head_may_process_any_number_of_rows(tiny):
    words = predicted(loaded(tiny, "gemma2"))
    recording = words.recording
    copies = {2: recording.activations[2][:, None] * torch.tensor([0.2, 0.7])[:, None]}
    one, all_rows = (
        words.differentiator("probability", rows)(recording, ALL, words.tokens, copies, 2) for rows in (1, 8)
    )
    torch.testing.assert_close(one.target, all_rows.target, rtol=TOLERANCE, atol=0)
    torch.testing.assert_close(one.by_layer[2], all_rows.by_layer[2], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("kind", "attention"), [pair for pair in ATTENTION if pair[0] in SLIDING])
def test_sliding_windows_have_an_effect(tiny, kind, attention):
    short, long = (predicted(loaded(tiny, kind, attention, sliding_window=w)) for w in (6, 512))
    assert int(short.positions.token.max()) > 6
    assert not torch.allclose(short.whole(), long.whole(), rtol=0, atol=100 * TOLERANCE)


def test_recorded_activations_equal_those_of_the_model(tiny):
    words = predicted(loaded(tiny, "llama"), "residual")
    with torch.no_grad():
        states = words.model.predictor.base(**words.inputs, output_hidden_states=True).hidden_states
    recording = words.recording
    for layer in range(3):
        there = states[layer + 1][words.positions.sentence, words.positions.token]
        torch.testing.assert_close(recording.activations[layer], there, rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(recording.inputs[layer + 1], there, rtol=0, atol=TOLERANCE)
    final = states[4][words.positions.sentence, words.positions.token]
    torch.testing.assert_close(recording.final, final, rtol=0, atol=TOLERANCE)


def test_the_model_is_unchanged(tiny):
    words = predicted(loaded(tiny, "llama"))
    base = words.model.predictor.base
    hooks, before = n_hooks(base), words.whole()
    recording = words.recording
    words.differentiator()(recording, ALL, words.tokens, {0: None})
    assert n_hooks(base) == hooks
    assert torch.equal(words.whole(), before)
    assert all(weight.grad is None and not weight.requires_grad for weight in base.parameters())
    assert torch.is_grad_enabled()


def test_hooks_are_removed_after_an_error(tiny):
    words = predicted(loaded(tiny, "llama"))
    recording, base, before = words.recording, words.model.predictor.base, words.whole()
    hooks = n_hooks(base)

    def fail(*_):
        raise RuntimeError("out of memory")

    handle = base.layers[2].mlp.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        _ = words.recording
    with pytest.raises(RuntimeError, match="out of memory"):
        words.differentiator()(recording, ALL, words.tokens, {0: None})
    handle.remove()
    assert n_hooks(base) == hooks
    with pytest.raises(IndexError):
        _ = predicted(words.model, layers=(0, 9)).recording
    assert n_hooks(base) == hooks
    assert torch.equal(words.whole(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_the_whole_model(tiny, kind):
    model = loaded(tiny, kind)
    words = predicted(model)
    plain = AutoModelForCausalLM.from_pretrained(model.files.path).eval()
    with torch.no_grad():
        logits = plain(**words.inputs).logits[words.positions.sentence, words.positions.token].float()
    expected = logits.log_softmax(1)[torch.arange(len(WORDS)), words.tokens]
    torch.testing.assert_close(words.whole()[:, 0].detach(), expected, rtol=0, atol=TOLERANCE)


def test_final_logits_are_capped_as_gemma_2_does(tiny):
    changes = {"sliding_window": 6, "final_logit_softcapping": 0.8}
    model = tiny("gemma2", changes)
    words = predicted(model)
    plain = AutoModelForCausalLM.from_pretrained(model.files.path).eval()
    with torch.no_grad():
        at = words.positions
        hidden = plain.model(**words.inputs).last_hidden_state[at.sentence, at.token]
        logits = plain(**words.inputs).logits[at.sentence, at.token]
        uncapped = plain.lm_head(hidden)
    row = torch.arange(len(WORDS))
    result = words.differentiator().recorded(words.recording, words.tokens)
    torch.testing.assert_close(result, logits.log_softmax(1)[row, words.tokens], rtol=0, atol=TOLERANCE)
    assert not torch.allclose(result, uncapped.log_softmax(1)[row, words.tokens], rtol=0, atol=0.01)


def test_the_network_is_loaded_once(tiny):
    model = tiny()
    alone = model.network
    assert model.predictor.base is not alone
    assert model.network is model.predictor.base
    other = tiny()
    assert other.predictor.base is other.network
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in other.network.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_permuted_weights_are_the_same_with_and_without_a_head(tiny, kind):
    alone = tiny(kind, random_weights=0).network.state_dict()
    model = tiny(kind, random_weights=0)
    base = model.predictor.base.state_dict()
    assert base.keys() == alone.keys()
    assert all(torch.equal(value, alone[name]) for name, value in base.items())
    assert model.network is model.predictor.base
    trained = tiny(kind).predictor
    assert torch.equal(model.predictor.head.weight, trained.head.weight)
    assert not all(torch.equal(value, base[name]) for name, value in trained.base.state_dict().items())


def test_a_model_without_a_last_norm_is_rejected(tiny):
    modules = {name: path for name, path in LIKE_LLAMA.items() if name != "norm"}
    model = tiny("starcoder2", modules=modules)
    with pytest.raises(ValueError, match=r"^tiny \(starcoder2\) lacks model.modules.norm, its last norm$"):
        _ = model.predictor
    assert n_hooks(model.network) == 0  # still usable for everything else


def test_a_model_without_a_head_is_rejected(tiny):
    with pytest.raises(ValueError, match=r"^tiny \(bert\) does not predict the next token$"):
        _ = tiny("bert").predictor


def test_a_head_that_scales_its_logits_is_rejected(tiny, monkeypatch):
    # granite divides its logits: unsupported heads must raise
    monkeypatch.setitem(SHAPES, "granite", {**GATED, "logits_scaling": 8.0})
    modules = {**LIKE_LLAMA, "mlp": "mlp.down_proj", "mlp_gate": "mlp.act_fn"}
    encoded = Encoder(tiny_tokenizer(), bos=1, pooling="mean")(TEXTS)
    targets = predictable(encoded, np.arange(20), 2)
    plain, scaled = (
        Attributor(model, "mlp", GradientPath(), "probability", 2**24)
        for model in (tiny(), tiny("granite", modules=modules))
    )
    assert plain.plan(encoded, targets, (0, 1)).words
    with pytest.raises(ValueError, match="cannot be run block by block"):
        scaled.plan(encoded, targets, (0, 1))
