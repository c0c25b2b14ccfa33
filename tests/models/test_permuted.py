"""Permuted weights: what is kept, what is lost, and that a seed decides it."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest
import torch
from models import sentences
from scipy.stats import chisquare
from torch import nn

from keyneurons.models.families import block_modules
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.permuted import describe_model, describe_weights, permute_matrices
from keyneurons.models.sources import LocalModel

FAMILIES = ["llama", "gpt2", "gpt_neox", "bert"]


def names_of_matrices(model: LanguageModel) -> set[str]:
    """Names of the weights of all linear layers in the blocks, found by their class."""
    blocks = f"{model.family.blocks}."
    linear = {name for name, module in model.network.named_modules() if type(module).__name__ in {"Linear", "Conv1D"}}
    return {f"{name}.weight" for name in linear if name.startswith(blocks)}


@pytest.mark.parametrize("kind", FAMILIES)
def test_matrices_of_the_blocks_keep_their_values_and_lose_their_places(tiny, kind):
    trained, permuted = (tiny(kind, random_weights=seed).network.state_dict() for seed in (None, 0))
    names = names_of_matrices(tiny(kind))
    assert len(names) == 4 * {"llama": 7, "gpt2": 4, "gpt_neox": 4, "bert": 6}[kind]
    assert trained.keys() == permuted.keys()
    for name in trained.keys() - {"pooler.dense.weight", "pooler.dense.bias"}:  # read by no site, drawn anew
        before, after = trained[name], permuted[name]
        assert torch.equal(before, after) == (name not in names), name
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values), name
    for name in names:  # entries leave their rows and their columns: no matrix is a shuffle of either
        same_place = (trained[name] == permuted[name]).float().mean()
        assert same_place < 0.05, name
        rows = trained[name].sort(dim=1).values, permuted[name].sort(dim=1).values
        assert not set(map(tuple, rows[0].tolist())) & set(map(tuple, rows[1].tolist()))


def test_embeddings_norms_and_biases_are_kept(tiny):
    trained, permuted = (tiny("gpt2", random_weights=seed).network for seed in (None, 0))
    kept = ["wte.weight", "wpe.weight", "ln_f.weight", "h.1.ln_1.weight", "h.1.ln_1.bias", "h.1.attn.c_attn.bias"]
    for name in kept:
        assert torch.equal(trained.get_parameter(name), permuted.get_parameter(name))


def test_a_tied_head_and_an_untied_head_are_kept(tiny):
    for changes in ({"tie_word_embeddings": True}, {"tie_word_embeddings": False}):
        trained, permuted = (tiny("llama", changes, random_weights=seed).predictor for seed in (None, 0))
        assert torch.equal(trained.head.weight, permuted.head.weight)
        assert (permuted.head.weight is permuted.base.get_input_embeddings().weight) == changes["tie_word_embeddings"]


def test_a_seed_repeats_and_seeds_differ(tiny):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two, other = (tiny(random_weights=seed).network.state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], two[name]) for name in one)
    for name in names_of_matrices(tiny()):
        assert not torch.equal(one[name], other[name])
    large = tiny(random_weights=2**80).network.state_dict()
    assert not torch.equal(one["layers.0.mlp.up_proj.weight"], large["layers.0.mlp.up_proj.weight"])


def test_the_permutation_is_the_same_in_every_number_format(tiny):
    full, half = (tiny(random_weights=3, dtype=dtype).network.state_dict() for dtype in ("float32", "bfloat16"))
    assert all(torch.equal(full[name].bfloat16(), half[name]) for name in full)


def test_matrices_of_equal_shape_are_permuted_independently():
    blocks = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(2))
    for block in blocks:
        block.weight.data = torch.arange(64.0).reshape(8, 8)
    permute_matrices(blocks, 0)
    assert not torch.equal(blocks[0].weight, blocks[1].weight)


def test_every_order_is_equally_likely():
    counts = Counter[tuple[float, ...]]()
    for seed in range(1200):
        block = nn.Linear(2, 2, bias=False)
        block.weight.data = torch.arange(4.0).reshape(2, 2)
        permute_matrices(block, seed)
        counts[tuple(block.weight.data.flatten().tolist())] += 1
    assert len(counts) == 24
    assert chisquare(list(counts.values())).pvalue > 0.001


def test_experts_keep_their_own_values():
    from transformers import MixtralConfig, MixtralModel

    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    model = MixtralModel(MixtralConfig(**sizes, num_attention_heads=4, num_key_value_heads=2, num_local_experts=3))
    before = {name: value.clone() for name, value in model.named_parameters()}
    permute_matrices(model.layers, 0)
    stacks = {name for name, value in before.items() if value.ndim == 3}
    assert len(stacks) == 4
    for name, value in model.named_parameters():
        if name in stacks:
            assert not torch.equal(value, before[name])
            for expert, trained in zip(value, before[name], strict=True):
                assert torch.equal(expert.flatten().sort().values, trained.flatten().sort().values)


def test_activations_change_and_those_of_the_embeddings_do_not(tiny, reader):
    trained, permuted = (reader(model=tiny(random_weights=seed))(sentences(), "x")[2] for seed in (None, 0))
    assert abs(trained.astype("f4") - permuted.astype("f4")).max() > 0.1
    ids = torch.tensor([[1, 7, 9]])
    embedded = [tiny(random_weights=seed).network.get_input_embeddings()(ids) for seed in (None, 0)]
    assert torch.equal(*embedded)


def test_the_blocks_are_still_on_the_device_and_frozen_like_the_trained(tiny):
    model = tiny(random_weights=0)
    assert not model.network.training
    assert not any(value.requires_grad for value in model.predictor.whole.parameters())
    assert all(value.is_contiguous() for value in block_modules(model.network, model.family).parameters())


def test_a_copy_keeps_the_seed(tiny):
    assert tiny(random_weights=4).unloaded().random_weights == 4


def test_a_quantised_model_is_refused(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder(), tmp_path / "quantised")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    model = LanguageModel(LocalModel(folder, tmp_path / "cache").fetch(), device="cpu", random_weights=0)
    with pytest.raises(ValueError, match=r"^model.random_weights=0: quantised is quantised; set it to null$"):
        model.check_weights()


def test_a_model_spread_over_devices_is_refused(tiny):
    with pytest.raises(ValueError, match="model.random_weights=0 needs model.device_map=null"):
        tiny(random_weights=0, device_map="auto")


def test_models_and_weights_in_words(tiny):
    assert (describe_weights(None), describe_weights(0)) == ("trained weights", "permuted weights (seed 0)")
    assert (describe_model("m", None), describe_model("m", 2)) == ("m", "m with permuted weights (seed 2)")
    assert (tiny().name, tiny(random_weights=2).name) == ("tiny", "tiny with permuted weights (seed 2)")
