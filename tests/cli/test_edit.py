"""The command ``edit`` writes a model with edited key neurons, or one line and nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from user import QUICK, Command, Place, artifacts_of, output_folders, runs_in

from keyneurons.config.compose import checked
from keyneurons.runs.reload import rebuild


@pytest.fixture(scope="module")
def folder(here: Command, place: Place, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("edits")
    ended = here(folder, *place.whole, *QUICK)
    assert ended.status == 0, ended.err
    return folder


def test_scaled_neurons(here: Command, place: Place, folder: Path) -> None:
    run, out = runs_in(folder)[0], folder / "scaled"
    ended = here(folder, "edit", run.info.run_id, "--tag", "NOUN", "--factor", "0", "--out", "scaled")
    assert ended.status == 0, ended.err
    assert ended.out == "3 key neurons of NOUN are multiplied by 0 in the model in scaled\n"
    key = json.loads((artifacts_of(run) / "key_neurons.json").read_text())
    neurons = [each["neuron"] for each in key["tags"]["NOUN"]]
    before, after = load_file(place.llama / "model.safetensors"), load_file(out / "model.safetensors")
    name = "model.layers.2.mlp.down_proj.weight"
    expected = before[name].clone()
    expected[:, neurons] = 0
    assert torch.equal(after[name], expected)
    assert AutoModelForCausalLM.from_pretrained(out).config.num_hidden_layers == 4
    card = (out / "README.md").read_text()
    assert all(f"mlp.2.{neuron} |" in card for neuron in neurons)
    assert run.info.run_id in card
    facts = json.loads((out / "edit.json").read_text())
    assert (facts["mode"], facts["factor"], [each["neuron"] for each in facts["neurons"]]) == ("scale", 0.0, neurons)


def test_neurons_at_their_mean(here: Command, place: Place, folder: Path, environment: dict[str, str]) -> None:
    run = output_folders(folder)[0]
    ended = here(folder, "edit", str(run), "--tag", "VERB", "--mean", "--out", "held")
    assert ended.status == 0, ended.err
    config = json.loads((folder / "held" / "config.json").read_text())
    assert config["mlp_bias"] is True
    key = json.loads((run / "key_neurons.json").read_text())
    neurons = [each["neuron"] for each in key["tags"]["VERB"]]
    tensors, before = load_file(folder / "held" / "model.safetensors"), load_file(place.llama / "model.safetensors")
    with mock.patch.dict(os.environ, environment):
        rebuilt = rebuild(str(run), [], checked)
        activations = rebuilt.read(rebuilt.treebank.splits["train"], "train")[2]
    mean = activations[rebuilt.labels.splits["train"].rows][:, neurons].astype(float).mean(axis=0)
    expected = before["model.layers.2.mlp.down_proj.weight"][:, neurons].double() @ torch.from_numpy(mean)
    torch.testing.assert_close(tensors["model.layers.2.mlp.down_proj.bias"].double(), expected, atol=1e-6, rtol=1e-5)
    assert not any(tensors[f"model.layers.{layer}.mlp.down_proj.bias"].any() for layer in (0, 1, 3))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--tag", "ADJ", "--factor", "0", "--out", "new"], "has no tag 'ADJ'; it has DET, NOUN, PRON, VERB"),
        (["--tag", "DET", "--factor", "nan", "--out", "new"], "--factor must be a finite number, got nan"),
        (["--tag", "DET", "--factor", "1e300", "--out", "new"], "factor 1e+300 makes weights that float32 cannot hold"),
        (["--tag", "DET", "--factor", "0", "--out", "outputs"], "outputs exists; choose a new or an empty folder"),
        (["--tag", "DET", "--out", "new"], "one of the arguments --factor --mean is required"),
        (["--tag", "DET", "--factor", "0", "--out", "new", "top_k=4"], "overrides must be of tracking."),
    ],
)
def test_one_line_and_nothing_written(here: Command, folder: Path, arguments: list[str], reason: str) -> None:
    ended = here(folder, "edit", str(output_folders(folder)[0]), *arguments)
    assert ended.status == 1
    assert reason in ended.error
    assert not (folder / "new").exists()
    assert not list(folder.glob(".*.tmp"))
