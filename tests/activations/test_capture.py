"""Captured activations equal those of the model, which is unchanged afterwards."""

from __future__ import annotations

import pytest
import torch
from models import SHAPES

from keyneurons.activations.capture import capture
from keyneurons.models.families import FAMILIES, block_modules, family_of, site_width

KINDS = [kind for kind in SHAPES if kind in FAMILIES]
FINAL_NORM = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm"}
SITES = ("residual", "mlp", "mlp_gate", "attention", "mlp_in")
# by kind: attention, feed-forward block, and first projection of the feed-forward block
WHOLES = {"gpt2": ("attn", "mlp", "c_fc"), "gpt_neox": ("attention", "mlp", "dense_h_to_4h")}
LLAMA_WHOLES = ("self_attn", "mlp", "gate_proj")


def inputs(model, length=9):
    ids = torch.arange(5, 5 + length)[None] * 7 % len(model.tokenizer)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def captured(model, site, layers, **given):
    with capture(model.network, model.family, {site: layers}) as reading:
        return reading(given, lambda hidden: hidden)[site]


def seen(block, path, *, output=True, **given):
    """Inputs or output of a part of a block in a whole forward pass, by an independent hook."""
    kept = []
    handle = block.get_submodule(path).register_forward_hook(
        lambda _, args, kw, out: kept.append((args, kw, out)), with_kwargs=True
    )
    with torch.inference_mode():
        given.pop("network")(**given)
    handle.remove()
    args, named, out = kept[0]
    if output:
        return out[0] if isinstance(out, tuple) else out
    return args[0] if args else named["hidden_states"]


def n_hooks(network):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


@pytest.mark.parametrize("kind", KINDS)
def test_residual_is_the_next_hidden_state(tiny, kind):
    model = tiny(kind)
    given = inputs(model)
    with torch.inference_mode():
        states = model.network(**given, output_hidden_states=True).hidden_states
    held = captured(model, "residual", range(4), **given)
    assert len(states) == model.n_layers + 1 == 5
    for layer in range(3):
        assert torch.equal(held[layer], states[layer + 1])
    norm = getattr(model.network, FINAL_NORM.get(kind, "norm"), torch.nn.Identity())
    with torch.inference_mode():
        assert torch.equal(norm(held[3]), states[4])
    assert torch.equal(held[3], states[4]) == (kind == "bert")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bert"])
def test_sites_recomputed_from_their_parts(tiny, kind):
    model = tiny(kind)
    given = inputs(model)
    block = block_modules(model.network, model.family)[1]
    attention, mlp, first = WHOLES.get(kind, LLAMA_WHOLES)
    held = {site: captured(model, site, (1,), **given)[1] for site in SITES}
    before = seen(block, mlp, output=False, network=model.network, **given)
    parts = block.get_submodule(mlp)
    with torch.inference_mode():
        gate = block.get_submodule(model.family.mlp_gate)(getattr(parts, first)(before))
        inner = gate * parts.up_proj(before) if hasattr(parts, "up_proj") else gate
        project = block.get_submodule(model.family.attention)
        assert torch.equal(held["mlp_in"], before)
        assert torch.equal(held["mlp_gate"], gate)
        assert torch.equal(held["mlp"], inner)
        assert torch.equal(
            block.get_submodule(model.family.mlp)(held["mlp"]), seen(block, mlp, network=model.network, **given)
        )
        assert torch.equal(project(held["attention"]), seen(block, attention, network=model.network, **given))


def test_sites_of_bert_recomputed_from_their_parts(tiny):
    model = tiny("bert")
    given = {"network": model.network, **inputs(model)}
    block = block_modules(model.network, model.family)[1]
    held = {site: captured(model, site, (1,), **inputs(model))[1] for site in SITES}
    attended = seen(block, "attention", **given)
    with torch.inference_mode():
        inner = torch.nn.functional.gelu(block.intermediate.dense(attended))
        assert torch.equal(held["mlp_in"], attended)
        assert torch.equal(held["mlp"], inner)
        assert torch.equal(held["mlp_gate"], inner)
        assert torch.equal(block.output.LayerNorm(block.output.dense(inner) + attended), held["residual"])
        assert torch.equal(held["attention"], seen(block, "attention.self", **given))


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("kind", KINDS)
def test_width_from_the_config_is_the_real_one(tiny, kind, site):
    model = tiny(kind)
    assert captured(model, site, (0,), **inputs(model))[0].shape[2] == site_width(model.config, site)


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "bert"])
def test_nothing_deeper_is_computed(tiny, kind, site):
    model = tiny(kind)
    blocks = block_modules(model.network, model.family)
    calls = []
    for layer, block in enumerate(blocks):
        block.register_forward_pre_hook(lambda _, __, layer=layer: calls.append(layer))
    held = captured(model, site, (2, 0), **inputs(model))
    assert set(held) == {0, 2}
    assert calls == [0, 1, 2]


def test_hooks_are_gone_whatever_happens(tiny):
    model = tiny()
    given = inputs(model)
    with torch.inference_mode():
        before = model.network(**given, output_hidden_states=True).hidden_states
    n = n_hooks(model.network)
    with capture(model.network, model.family, {"mlp": (0, 1)}) as reading:
        assert n_hooks(model.network) > n
        reading(given, torch.Tensor.sum)
    assert n_hooks(model.network) == n
    with pytest.raises(RuntimeError, match="stop"), capture(model.network, model.family, {"mlp": (0, 1)}):
        raise RuntimeError("stop")
    assert n_hooks(model.network) == n
    with pytest.raises(IndexError), capture(model.network, model.family, {"mlp": (0, 9)}):
        pass
    assert n_hooks(model.network) == n
    with torch.inference_mode():
        after = model.network(**given, output_hidden_states=True).hidden_states
    assert all(map(torch.equal, before, after))


def test_an_error_of_the_model_is_not_swallowed(tiny, monkeypatch):
    model = tiny()

    def broken(*_, **__):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model.network.layers[1], "forward", broken)
    with pytest.raises(RuntimeError, match="memory"), capture(model.network, model.family, {"mlp": (0, 2)}) as reading:
        reading(inputs(model), torch.Tensor.sum)
    assert set(captured(model, "mlp", (0,), **inputs(model))) == {0}


def test_a_wrong_path_names_what_there_is(tiny):
    model = tiny()
    with pytest.raises(KeyError, match="no module at 'transformer.h'; it has embed_tokens, layers"):
        block_modules(model.network, FAMILIES["gpt2"].__class__("transformer.h", "a", "b", "c"))
    with pytest.raises(KeyError, match="'norm' is a LlamaRMSNorm, not a list"):
        block_modules(model.network, family_of("x", {"blocks": "norm", "mlp": "a", "mlp_gate": "b", "attention": "c"}))
    wrong = family_of("x", {"blocks": "layers", "mlp": "mlp.c_proj", "mlp_gate": "b", "attention": "c"})
    with (
        pytest.raises(KeyError, match="no module at 'mlp.c_proj'; .*mlp.down_proj"),
        capture(model.network, wrong, {"mlp": (0,)}),
    ):
        pass


def test_an_unknown_architecture_needs_its_four_paths(tiny):
    with pytest.raises(ValueError, match="'starcoder2' is not one of llama.*blocks: .*mlp: .*mlp_gate: .*attention: "):
        _ = tiny("starcoder2").family
    with pytest.raises(ValueError, match="lacks mlp_gate, attention"):
        _ = tiny("starcoder2", modules={"blocks": "layers", "mlp": "mlp.c_proj"}).family
    paths = {"blocks": "layers", "mlp": "mlp.c_proj", "mlp_gate": "mlp.act", "attention": "self_attn.o_proj"}
    model = tiny("starcoder2", modules=paths)
    with pytest.raises(ValueError, match="mlp_in of this architecture is unknown; .* model.modules.mlp_in=PATH"):
        captured(model, "mlp_in", (1,), **inputs(model))
    model = tiny("starcoder2", modules={**paths, "mlp_in": "post_attention_layernorm"})
    for site in SITES:
        assert captured(model, site, (1,), **inputs(model))[1].shape == (1, 9, model.width(site))
