"""Incomplete, unexpected or damaged weights raise before any computation."""

from __future__ import annotations

import json
import os
import random
import shutil

import pytest
import torch
from damaging import damage
from models import SHAPES, SMALL, save_tiny_model, sentences
from safetensors.torch import load_file, save_file

from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import LocalModel

FAMILIES = ("llama", "qwen3", "gpt2", "gpt_neox", "bert")
BLOCK = {"gpt2": "h.1.", "bert": "encoder.layer.1."}
OPT = {"blocks": "decoder.layers", "mlp": "fc2", "mlp_gate": "activation_fn", "attention": "self_attn.out_proj"}


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A factory of copies of tiny models by kind, to be damaged."""

    def make(kind="llama"):
        return shutil.copytree(tiny_folder(kind), tmp_path / kind)

    return make


def loaded(folder, cache=None):
    return LanguageModel(LocalModel(folder, cache or folder.parent / "cache").fetch(), device="cpu")


def rewrite(folder, change):
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def refused(folder, *named):
    """Both ways of reading the weights raise one line that names the folder and the tensors."""
    for use in (LanguageModel.check_weights, lambda model: model.network):
        with pytest.raises(ValueError, match="weights") as error:
            use(loaded(folder))
        told = str(error.value)
        assert "\n" not in told
        assert all(name in told for name in (str(folder), *named)), told


@pytest.mark.parametrize("kind", FAMILIES)
def test_whole_weights_are_taken(folder, kind):
    model = loaded(folder(kind))
    model.check_weights()
    assert all(parameter.isfinite().all() for parameter in model.network.parameters())


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_missing_tensor_of_a_block_is_named(folder, kind):
    """Removes each tensor in turn: none is optional."""
    place = folder(kind)
    whole = load_file(place / "model.safetensors")
    for name in [name for name in whole if BLOCK.get(kind, "layers.1.") in name]:
        save_file({k: v for k, v in whole.items() if k != name}, place / "model.safetensors", metadata={"format": "pt"})
        refused(place, "missing", name.partition(BLOCK.get(kind, "layers.1."))[2])


@pytest.mark.parametrize("kind", FAMILIES)
def test_names_with_another_prefix(folder, kind):
    place = folder(kind)
    rewrite(place, lambda tensors: {f"wrapped.{name}": value for name, value in tensors.items()})
    refused(place, "missing", "unexpected", "wrapped.")


@pytest.mark.parametrize(("depth", "told"), [(6, "missing"), (2, "unexpected")])
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_config_of_another_depth(folder, kind, depth, told):
    place = folder(kind)
    configure(place, **{"n_layer" if kind == "gpt2" else "num_hidden_layers": depth, "layer_types": None})
    refused(place, told)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 64},
        {"intermediate_size": 40},
        {"num_attention_heads": 2},
        {"num_attention_heads": 8},
        {"num_key_value_heads": 4},
        {"vocab_size": 500},
    ],
)
def test_sizes_that_are_not_those_of_the_file(folder, changes):
    place = folder()
    configure(place, **changes)
    refused(place, "of another shape", "config.json")


def test_a_tensor_that_the_model_has_no_place_for(folder):
    place = folder()
    name = "model.layers.0.self_attn.q_proj.bias"  # the file has biases that the config excludes
    rewrite(place, lambda tensors: tensors | {name: torch.ones(32)})
    refused(place, "unexpected", name)


def test_weights_that_the_digests_would_miss(folder):
    place = folder()
    (place / "sub").mkdir()
    shutil.copy(place / "model.safetensors", place / "sub" / "w.safetensors")
    index = place / "model.safetensors.index.json"
    tensors = list(load_file(place / "model.safetensors"))
    for shard in (
        "sub/w.safetensors",
        "../w.safetensors",
        str(place / "model.safetensors"),
        "none.safetensors",
        3,
        None,
    ):
        index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(tensors, shard)}))
        with pytest.raises(ValueError, match="is not a file of this folder") as error:
            loaded(place)
        assert str(index) in str(error.value)
    index.unlink()
    configure(place, transformers_weights="sub/w.safetensors")
    with pytest.raises(ValueError, match=r"config.json: transformers_weights is not supported"):
        loaded(place)


def test_shards_are_digested_with_their_index(folder):
    place = folder()
    tensors, revisions = load_file(place / "model.safetensors"), []
    (place / "model.safetensors").unlink()
    for cut in (3, 4):
        halves = dict(list(tensors.items())[:cut]), dict(list(tensors.items())[cut:])
        for number, half in enumerate(halves):
            save_file(half, place / f"model-{number}.safetensors", metadata={"format": "pt"})
        shards = {name: f"model-{number}.safetensors" for number, half in enumerate(halves) for name in half}
        index = {"metadata": {}, "weight_map": shards}
        (place / "model.safetensors.index.json").write_text(json.dumps(index))
        model = loaded(place)
        revisions.append(model.files.revision)
        assert torch.equal(model.network.norm.weight, tensors["model.norm.weight"])
        assert "model.safetensors.index.json" in model.files.digests
    assert len(set(revisions)) == 2


def test_integers_without_scales_are_no_weights(folder):
    place = folder()
    name = "model.layers.1.mlp.up_proj.weight"
    rewrite(place, lambda tensors: tensors | {name: tensors[name].mul(100).to(torch.int8)})
    with pytest.raises(ValueError, match=f"{name} is I8; without a quantization_config weights must be F64"):
        loaded(place).check_weights()


def test_the_wrong_family_is_refused_before_memory_is_taken(folder, monkeypatch):
    """Missing sizes in the config would default to those of a model of billions of parameters."""
    place = folder("gpt2")
    configure(place, model_type="mistral")
    monkeypatch.setattr("keyneurons.models.folders.check_undamaged", None)  # called after the comparison of shapes
    refused(place, "missing")


def test_heads_and_constants_of_older_versions_do_not_matter(folder):
    place = folder()
    more = {"score.weight": torch.ones(2), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    rewrite(place, lambda tensors: tensors | more)
    assert loaded(place).network is not None


def test_a_head_that_is_missing_is_refused_where_it_is_needed(folder):
    place = folder()
    rewrite(place, lambda tensors: {k: v for k, v in tensors.items() if k != "lm_head.weight"})
    assert loaded(place).network is not None
    with pytest.raises(ValueError, match="missing: lm_head.weight"):
        _ = loaded(place).predictor
    early = loaded(place)
    early.needs_head = True  # as a run with lesions sets it before extraction
    for use in (LanguageModel.check_weights, lambda model: model.network):
        with pytest.raises(ValueError, match="missing: lm_head.weight"):
            use(early)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hidden_act": "foo"}, "foo"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a positive integer, got 0"),
        ({"num_attention_heads": 0}, "cannot be read"),
        ({"vocab_size": -4}, "vocab_size must be a positive integer, got -4"),
        ({"hidden_size": "32"}, "hidden_size"),
        ({"pad_token_id": 5000}, r"pad_token_id must lie in 0\.\.\d+ \(the vocabulary of the model\), got 5000"),
        ({"model_type": "none_such"}, "none_such"),
    ],
)
def test_a_config_that_no_model_can_have(folder, changes, told):
    place = folder()
    configure(place, **changes)
    with pytest.raises(ValueError, match=told) as error:
        _ = loaded(place).network
    assert str(place) in str(error.value)


@pytest.mark.parametrize("content", ["", "[]", '{"model_type": 1', "null", "\x00"])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_damaged_files_are_told_with_their_folder(folder, name, content):
    place = folder()
    (place / name).write_text(content)

    def read():
        model = loaded(place)
        return model.n_layers, model.tokenizer

    with pytest.raises((ValueError, OSError)) as error:
        read()
    assert str(place) in str(error.value)


def test_a_token_without_an_embedding(folder, reader):
    from transformers import AutoTokenizer

    place = folder()
    tokenizer = AutoTokenizer.from_pretrained(place)
    tokenizer.add_tokens(["moon"])
    tokenizer.save_pretrained(place)
    with pytest.raises(
        ValueError, match=r"produces token 'moon' \(id \d+\).*the model has embeddings for ids 0\.\.\d+"
    ):
        reader(model=loaded(place)).encode(sentences())


def flip(path, at=0.7):
    """Change one bit and keep size and time, like a disk error."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 64
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_a_bit_that_flipped_since_the_digest_was_taken(folder):
    place = folder()
    model = loaded(place)
    flip(place / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors is damaged: its sha256 is \w{64}, not \w{64}; restore it"):
        _ = model.network


def test_a_bit_that_flipped_gives_another_revision(folder):
    place = folder()
    before = loaded(place).files.revision
    flip(place / "model.safetensors")
    assert loaded(place).files.revision != before


@pytest.mark.parametrize("content", ["", "{}", "[]", '"abc"', '{"config.json": ""}', "\xff"])
def test_a_damaged_note_is_made_again(folder, content):
    place = folder()
    whole = loaded(place).files
    (note,) = (place.parent / "cache" / "digests").iterdir()
    note.write_text(content)
    assert loaded(place).files == whole
    assert note.read_text() != content


def test_the_digest_is_remembered(folder, monkeypatch):
    """The recorded digests are used while the files are unchanged."""
    place = folder()
    whole = loaded(place).files
    monkeypatch.setattr("keyneurons.models.sources.file_digest", None)
    assert loaded(place).files == whole


def test_opt_is_read_right_though_it_lays_tokens_end_to_end(tmp_path, monkeypatch, reader):
    monkeypatch.setitem(SHAPES, "opt", dict(SMALL))
    place = save_tiny_model(tmp_path / "opt", "opt", layers=2)
    model = LanguageModel(LocalModel(place, tmp_path / "cache").fetch(), device="cpu", modules=OPT)
    read = reader(model=model, site="mlp", layers=(1,), dtype="float32", batch_tokens=200)
    found = read(sentences(), "x")[1]
    seen, row = [], 0
    handle = model.network.decoder.layers[1].fc2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for encoded in read.encode(sentences()):  # one sentence at a time, by an independent hook
        with torch.inference_mode():
            model.network(input_ids=torch.tensor([encoded.ids]))
        for _, last in encoded.reads:
            torch.testing.assert_close(torch.from_numpy(found[row].copy()), seen[-1][last], rtol=1e-4, atol=1e-5)
            row += 1
    handle.remove()
    assert row == len(found)


def test_damage_to_60_model_folders(tiny_folder, tmp_path):
    """Each raises one line that names the folder, or every parameter equals that of the file."""
    draw, taken, whole = random.Random(14), 0, tiny_folder("llama")
    revision = LocalModel(whole, tmp_path / "cache").fetch().revision
    for number in range(60):
        place = shutil.copytree(whole, tmp_path / str(number))
        damage_folder(place, draw)
        told, model = "", None
        try:
            model = loaded(place, tmp_path / "cache")
            _ = model.tokenizer, model.network, model.width("mlp")
        except (ValueError, OSError) as error:
            told = str(error)
        if told:
            assert str(place) in told, told
        else:
            taken += 1
            assert model.files.revision != revision
            stored = load_file(place / "model.safetensors")
            for name, parameter in model.network.named_parameters():
                assert torch.equal(stored[f"model.{name}"].float(), parameter)
    assert 3 < taken < 50


def damage_folder(place, draw):
    """Change one thing: a value of the config, a tensor, or the bytes of a file."""
    kind = draw.choice(["config", "config", "tensor", "bytes"])
    if kind == "config":
        config = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps(damage(config, draw)))
    elif kind == "tensor":
        tensors = load_file(place / "model.safetensors")
        name = draw.choice([name for name in tensors if name != "lm_head.weight"])
        value = tensors.pop(name)
        other = [lambda: value[:-1].contiguous(), lambda: value[None].contiguous(), lambda: value + 1, lambda: None]
        if (changed := draw.choice(other)()) is not None:
            tensors[name] = changed
        save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
    else:
        path = place / draw.choice(["config.json", "model.safetensors", "tokenizer.json"])
        path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])
