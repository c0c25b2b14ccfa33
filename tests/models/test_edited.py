"""An edited model, loaded by transformers, has the logits of the hooked original."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from models import SHAPES, save_tiny_model
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from keyneurons.activations.capture import hook_site
from keyneurons.models.edited import Edit, write_edited
from keyneurons.models.families import FAMILIES
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel

NEURONS = torch.tensor([1, 5, 6])
LEVEL = torch.tensor([0.7, -1.5, 2.0])
IDS = torch.tensor([[1, 40, 17, 99, 250, 33, 8]])
KINDS = sorted(SHAPES.keys() & FAMILIES.keys())


def whole(kind: str, folder: Path):
    auto = AutoModelForMaskedLM if kind == "bert" else AutoModelForCausalLM
    return auto.from_pretrained(folder, dtype=torch.float32).eval()


@torch.inference_mode()
def hooked(kind: str, model: LanguageModel, site, edits) -> Tensor:
    network = whole(kind, model.files.path)

    def change(edit):
        def apply(value: Tensor) -> Tensor:
            value = value.clone()
            value[..., edit.neurons] *= edit.factor
            if edit.level is not None:
                value[..., edit.neurons] += edit.level
            return value

        return apply

    with hook_site(network.base_model, model.family, site, {layer: change(edit) for layer, edit in edits.items()}):
        return network(IDS).logits


@torch.inference_mode()
def loaded(kind: str, folder: Path) -> Tensor:
    return whole(kind, folder)(IDS).logits


def model_in(folder: Path, **options) -> LanguageModel:
    return LanguageModel(LocalModel(folder, folder.parent).fetch(), device="cpu", **options)


def edited(model: LanguageModel, site, edits, folder: Path) -> Path:
    folder.mkdir()
    write_edited(model, site, edits, folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_scaled_neurons_of_every_site(tiny_folder, tmp_path, kind):
    model = model_in(tiny_folder(kind))
    for site, factor in [("mlp", 0.0), ("mlp_gate", 3.0), ("attention", -1.5)]:
        edits = {0: Edit(NEURONS, factor), 2: Edit(NEURONS + 3, factor)}
        expected = hooked(kind, model, site, edits)
        assert not torch.allclose(expected, loaded(kind, model.files.path), atol=1e-3)
        torch.testing.assert_close(
            loaded(kind, edited(model, site, edits, tmp_path / site)), expected, atol=1e-5, rtol=0
        )


@pytest.mark.parametrize(
    ("kind", "site"),
    [(kind, site) for kind in ("llama", "smollm3", "gpt2", "gpt_neox", "bert") for site in ("mlp", "attention")]
    + [("qwen3", "attention"), ("gemma3_text", "attention")],
)
def test_neurons_held_at_a_level(tiny_folder, tmp_path, kind, site):
    model = model_in(tiny_folder(kind))
    edits = {1: Edit(NEURONS, 0.0, LEVEL), 3: Edit(NEURONS, 0.0, -LEVEL)}
    expected = hooked(kind, model, site, edits)
    new = edited(model, site, edits, tmp_path / "new")
    torch.testing.assert_close(loaded(kind, new), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "site"), [("qwen2", "mlp"), ("mistral", "attention"), ("gemma2", "mlp")])
def test_a_model_without_biases_is_refused_a_level(tiny_folder, tmp_path, kind, site):
    with pytest.raises(ValueError, match=rf"a {kind} model cannot hold neurons of {site} at a level: .*; use a factor"):
        edited(model_in(tiny_folder(kind)), site, {1: Edit(NEURONS, 0.0, LEVEL)}, tmp_path / "new")


def test_all_other_tensors_and_files_are_the_same(tiny_folder, tmp_path):
    model = model_in(tiny_folder("llama"))
    new = edited(model, "mlp", {1: Edit(NEURONS, 2.0)}, tmp_path / "new")
    before, after = load_file(model.files.path / "model.safetensors"), load_file(new / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"model.layers.1.mlp.down_proj.weight"}
    name = changed.pop()
    others = [n for n in range(48) if n not in NEURONS]
    assert torch.equal(before[name][:, others], after[name][:, others])
    assert torch.equal(2 * before[name][:, NEURONS], after[name][:, NEURONS])
    for file in ("config.json", "tokenizer.json"):
        assert (new / file).read_bytes() == (model.files.path / file).read_bytes()


def test_shards_in_half_precision(tmp_path):
    folder = save_tiny_model(tmp_path / "tiny")
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    (folder / "model.safetensors").unlink()
    network.save_pretrained(folder, max_shard_size="40KB")
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(shards) > 2
    model = model_in(folder)
    edits = {1: Edit(NEURONS, 0.0, torch.tensor([1.0, 0.5, 2.0]))}
    new = edited(model, "mlp", edits, tmp_path / "new")
    assert sorted(path.name for path in new.glob("*.safetensors")) == shards
    torch.testing.assert_close(loaded("llama", new), hooked("llama", model, "mlp", edits), atol=0.05, rtol=0)
    tensors = [tensor for path in new.glob("*.safetensors") for tensor in load_file(path).values()]
    assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}
    index = json.loads((new / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors)
    assert len(index["weight_map"]) == len(tensors)


@pytest.mark.parametrize(
    ("options", "site", "factor", "reason"),
    [
        ({}, "residual", 0.0, "possible at the sites mlp, mlp_gate and attention, not at residual"),
        ({}, "mlp", 1e39, r"factor 1e\+39 makes weights that float32 cannot hold"),
        ({"random_weights": 3}, "mlp", 0.0, r"the run read permuted weights \(model.random_weights=3\)"),
    ],
)
def test_edits_that_weights_cannot_express(tiny_folder, tmp_path, options, site, factor, reason):
    with pytest.raises(ValueError, match=reason):
        edited(model_in(tiny_folder("llama"), **options), site, {1: Edit(NEURONS, factor)}, tmp_path / "new")
