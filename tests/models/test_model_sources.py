"""Sources and identity of models, and errors before loading."""

from __future__ import annotations

import json
import shutil

import huggingface_hub.constants
import pytest
import torch
from models import save_tiny_model, sentences, tiny_tokenizer
from safetensors.torch import load_file

from keyneurons.models import language_model as models
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import HubModel, LocalModel


@pytest.fixture
def copy(tiny_folder, tmp_path):
    """A model folder that a test may damage."""
    return shutil.copytree(tiny_folder(), tmp_path / "copy")


def test_a_local_model_is_named_by_its_folder_and_its_weights(copy, tmp_path):
    found = LocalModel(copy, tmp_path / "cache").fetch()
    assert (found.path, found.id) == (copy, "copy")
    other = save_tiny_model(tmp_path / "other", seed=1)
    assert LocalModel(other, tmp_path / "cache").fetch().revision != found.revision
    shutil.copytree(copy, tmp_path / "second" / "copy")
    assert LocalModel(tmp_path / "second" / "copy", tmp_path / "cache").fetch().revision == found.revision


def test_the_digest_is_remembered_until_the_files_change(copy, tmp_path, monkeypatch):
    source = LocalModel(copy, tmp_path / "cache")
    first = source.fetch()
    with monkeypatch.context() as patch:
        patch.setattr(models, "file_digest", None)
        assert source.fetch() == first
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert source.fetch().revision != first.revision


def test_a_folder_without_config(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a model folder: it has no config.json"):
        LocalModel(tmp_path, tmp_path / "cache").fetch()
    with pytest.raises(FileNotFoundError, match="nowhere is not a model folder"):
        LocalModel(tmp_path / "nowhere", tmp_path / "cache").fetch()


@pytest.mark.parametrize("only_bin", [False, True])
def test_a_folder_without_safetensors(copy, tmp_path, only_bin):
    if only_bin:
        torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no weights in safetensors .*other formats are not supported"):
        LocalModel(copy, tmp_path / "cache").fetch()


def test_a_hub_model_that_cannot_be_had_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"model 'some/one' \(revision main\) is not in the hub cache") as error:
        HubModel("some/one").fetch()
    assert "\n" not in str(error.value)


def test_a_mirror_that_answers_with_a_page_is_one_line(monkeypatch):
    def page(*_, **__):
        return json.loads("<html>\n<body>Access denied</body></html>")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", page)
    for fetch in (HubModel("some/one", "step1").fetch, HubModel("some/one", "step1").fetch_config):
        with pytest.raises(FileNotFoundError, match="answered with a page instead of JSON; check HF_ENDPOINT") as error:
            fetch()
        assert "\n" not in str(error.value)


def test_a_hub_model_that_is_here_is_named_by_its_commit(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789" * 4
    place = tmp_path / "models--some--one"
    shutil.copytree(tiny_folder(), place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    found = HubModel("some/one").fetch()
    assert (found.path, found.id, found.revision) == (place / "snapshots" / commit, "some/one", commit)
    assert LanguageModel(found).n_layers == 4
    (found.path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no weights in safetensors"):
        HubModel("some/one").fetch()


def test_a_gpu_that_is_not_there(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = LanguageModel(tiny().files, device="cuda")
    with pytest.raises(ValueError, match="model.device=cuda, but torch sees no GPU; use model.device=cpu or auto"):
        _ = model.device
    assert LanguageModel(tiny().files, device="auto").device == torch.device("cpu")


def test_auto_is_float32_on_a_cpu_whatever_the_checkpoint_says(tiny_folder, tmp_path):
    folder = tiny_folder("llama", dtype="bfloat16")
    files = LocalModel(folder, tmp_path / "cache").fetch()
    assert next(LanguageModel(files, device="cpu").network.parameters()).dtype == torch.float32
    half = LanguageModel(files, device="cpu", dtype="float16")
    assert (half.dtype, next(half.network.parameters()).dtype) == ("float16", torch.float16)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near(tiny, reader, dtype):
    exact, half = (reader(model=tiny(dtype=d), layers=(1,))(sentences(), "x")[1] for d in ("float32", dtype))
    assert 0 < abs(exact.astype("f4") - half.astype("f4")).max() < 0.1 * abs(exact).max()


def test_the_weights_are_those_of_the_file_and_evaluated(tiny):
    model = tiny("gpt2")
    stored = load_file(model.files.path / "model.safetensors")
    assert torch.equal(stored["transformer.h.2.mlp.c_proj.weight"], model.network.h[2].mlp.c_proj.weight)
    assert not model.network.training


def test_a_tokenizer_that_is_only_slow_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(type(tiny_tokenizer()), "is_fast", False)
    with pytest.raises(ValueError, match="the tokenizer of tiny gives no character offsets"):
        _ = tiny().tokenizer


def test_loading_and_reading_say_nothing(tiny, reader, capfd):
    model = tiny("bert")
    _ = model.network, model.tokenizer
    reader("gpt2")(sentences(), "x")  # with padding, for which transformers would warn about the mask
    assert capfd.readouterr() == ("", "")
