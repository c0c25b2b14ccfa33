"""Runs on other bases than neurons: swept, bound to their basis, reloaded, lesioned, refused."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from autoencoders import random_sae, save_sae, without_threshold
from user import QUICK, Command, Place, artifacts_of, output_folders, results_of, runs_in

from keyneurons.artifacts.basis import read_components
from keyneurons.data.word_splitting import split_words
from keyneurons.runs.tagger import load_tagger

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_small_sae.py"
SETTINGS = {"architecture": "topk", "k": 8, "hook_name": "blocks.2.hook_resid_post"}


def small(place: Place) -> list[str]:
    return [*place.small, *QUICK, "site=residual"]


@pytest.fixture(scope="module")
def sae(place: Place) -> Path:
    return save_sae(
        place.folder / "sae" / "layer_2" / "sae.safetensors", without_threshold(random_sae(32, 80)), SETTINGS
    )


@pytest.fixture(scope="module")
def swept(place: Place, here: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the experiment ran on three bases."""
    folder = tmp_path_factory.mktemp("bases")
    without = [each for each in place.small if not each.startswith(("layer=", "dataset"))]
    data = ["dataset=conllu", f"dataset.file={place.treebank}"]
    ended = here(folder, "experiment=bases", *without, *data, *QUICK, "hydra.sweeper.params.layer=2")
    assert ended.status == 0, ended.err
    return folder


def run_of(folder: Path, basis: str):
    [run] = [
        run
        for run in runs_in(folder)
        if run.data.params.get("choice.basis") == basis and "mlflow.parentRunId" in run.data.tags
    ]
    return run


def test_a_sweep_over_bases_is_compared_as_any_other(swept: Path) -> None:
    runs = {basis: run_of(swept, basis) for basis in ("neurons", "rotation", "pca")}
    assert {run.data.params["basis.kind"] for run in runs.values()} == set(runs)
    names = [run.info.run_name for run in runs.values()]
    assert names == [f"residual.2{basis} k3 correlation" for basis in ("", " rotation", " pca")]
    assert len({run.data.metrics["probe/test_accuracy"] for run in runs.values()}) > 1
    assert len({run.data.tags["neuron_sets"] for run in runs.values()}) == 3
    [folder] = swept.glob("outputs/*/*-sweep/comparison")
    assert "choice.basis" in (folder / "runs.csv").read_text().splitlines()[0]


@pytest.mark.parametrize("basis", ["rotation", "pca"])
def test_key_neurons_are_bound_to_their_basis(swept: Path, basis: str) -> None:
    folder = artifacts_of(run_of(swept, basis))
    key = json.loads((folder / "key_neurons.json").read_text())
    assert key["basis"]["name"] == basis
    assert key["neurons_per_layer"] == 32
    assert f"residual.2.{basis}." in (folder / "summary.md").read_text()
    assert (folder / "basis.safetensors").exists() == (basis == "pca")
    neurons = json.loads((artifacts_of(run_of(swept, "neurons")) / "key_neurons.json").read_text())
    assert "basis" not in neurons


def test_sets_of_another_basis_are_refused(swept: Path, here: Command, place: Place) -> None:
    sets = artifacts_of(run_of(swept, "rotation")) / "key_neurons.json"
    given = [*small(place), "selection=from_file", f"selection.path={sets}"]
    for basis, got in [("neurons", "neurons"), ("rotation basis.seed=1", "rotation"), ("pca", "pca fitted by the run")]:
        ended = here(swept, *given, *f"basis={basis}".split())
        assert ended.status == 1
        assert "key_neurons.json is bound to basis rotation" in ended.error
        assert f"this run has {got}" in ended.error
    ended = here(swept, *given, "basis=rotation")
    assert ended.status == 0, ended.err


def test_components_of_a_run_are_used_again(swept: Path, here: Command, place: Place) -> None:
    first = run_of(swept, "pca")
    folder = artifacts_of(first)
    given = [*small(place), "basis=pca", f"basis.file={folder}", "selection=from_file", f"selection.path={folder}"]
    ended = here(swept, *given)
    assert ended.status == 0, ended.err
    again = runs_in(swept)[-1]
    assert again.data.metrics["probe/test_accuracy"] == first.data.metrics["probe/test_accuracy"]


def test_a_publication_has_the_components_of_its_sets(swept: Path, here: Command, place: Place) -> None:
    run = run_of(swept, "pca")
    ended = here(swept, "publish", run.info.run_id, "sets", "licence=CC0-1.0", "model_licence=MIT")
    assert ended.status == 0, ended.err
    card = (swept / "sets" / "README.md").read_text()
    assert "keyneurons selection=from_file selection.path=sets site=residual layer=2 basis=pca basis.file=sets" in card
    assert "basis.safetensors" in card
    components = read_components(swept / "sets", "residual", 32, (2,))
    assert components.digest == json.loads((swept / "sets" / "key_neurons.json").read_text())["basis"]["digest"]


def test_runs_are_reloaded_with_their_basis(swept: Path, here: Command, place: Place) -> None:
    run = run_of(swept, "pca")
    number = json.loads((artifacts_of(run) / "key_neurons.json").read_text())["tags"]["NOUN"][0]["neuron"]
    overrides = [f"cache={place.cache}"]
    ended = here(swept, "inspect", run.info.run_id, "--neuron", f"residual.2.pca.{number}", *overrides)
    assert ended.status == 0, ended.err
    assert f"residual.2.pca.{number}" in next(swept.glob("outputs/**/inspect_*.html")).read_text()
    ended = here(swept, "inspect", run.info.run_id, "--neuron", f"residual.2.{number}", *overrides)
    assert ended.status == 1
    assert "--neuron must be residual.LAYER.pca.NUMBER with LAYER in 2 and NUMBER in 0..31" in ended.error
    ended = here(swept, "edit", run.info.run_id, "--tag", "NOUN", "--factor", "0", "--out", "edited", *overrides)
    assert ended.status == 1
    assert "has units of basis=pca" in ended.error
    assert not (swept / "edited").exists()


def test_units_are_steered_along_their_directions(swept: Path, here: Command, place: Place) -> None:
    few = ["--sets", "2", "--new-tokens", "4", "--pairs", "none", "--out", "steered"]
    run = run_of(swept, "rotation")
    ended = here(swept, "steer", run.info.run_id, "--tag", "NOUN", "--factor", "0", *few, f"cache={place.cache}")
    assert ended.status == 0, ended.err
    assert (swept / "steered").is_dir()


def test_the_tagging_model_reads_units(swept: Path, here: Command, place: Place) -> None:
    ended = here(swept, *small(place), "basis=pca")
    assert ended.status == 0, ended.err
    folder = output_folders(swept)[-1]
    tagger = load_tagger(folder / "model" / "run")
    read = tagger.read
    assert (read.basis.name, read.units) == ("pca", 32)
    sentence = split_words("the dog runs")
    own = read.basis.encode(2, torch.from_numpy(np.array(read.of_neurons()([sentence], "text")[2])))
    numbers = torch.tensor([neuron for _, neuron in tagger.probe.neurons])
    expected = tagger.probe.probe(own[:, numbers]).argmax(dim=1).tolist()
    [tagged] = tagger([sentence])
    assert tagged.tags == tuple(tagger.probe.tags[i] for i in expected)


def test_latents_are_selected_probed_and_lesioned(call: Command, place: Place, sae: Path) -> None:
    lesions = ["lesion=zero", "lesion.sets=2", "lesion.further_sets=0", "lesion.sentences=8", "lesion.tags=2"]
    lesions += ["lesion.permutations=10", "lesion.bootstraps=10"]
    file = f"basis.file='{sae.parent.parent}/layer_{{layer}}'"
    ended = call(*small(place), "basis=sae", file, *lesions)
    assert ended.status == 0, ended.err
    [run] = runs_in(Path.cwd())
    key = json.loads((artifacts_of(run) / "key_neurons.json").read_text())
    assert (key["basis"]["name"], key["neurons_per_layer"]) == ("sae", 80)
    assert run.data.metrics["probe/test_accuracy"] > run.data.metrics["control/majority/test_accuracy"]
    assert any(name.startswith("lesion/zero/change/") and value != 0 for name, value in results_of(run).items())


def test_latents_of_a_transcoder_are_selected_probed_and_lesioned(call: Command, place: Place) -> None:
    hooks = {"hook_name": "blocks.2.mlp.hook_in", "hook_name_out": "blocks.2.hook_mlp_out"}
    file = save_sae(
        Path("t.safetensors"), without_threshold(random_sae(32, 80)), {"architecture": "transcoder", **hooks}
    )
    lesions = ["lesion=zero", "lesion.sets=2", "lesion.further_sets=0", "lesion.sentences=8", "lesion.tags=2"]
    lesions += ["lesion.permutations=10", "lesion.bootstraps=10"]
    own = [*place.small, *QUICK, "basis=transcoder", f"basis.file={file}"]
    ended = call(*own, "site=residual")
    assert (ended.status, "it needs site=mlp_in, got residual" in ended.error) == (1, True)
    modules = "{blocks: layers, mlp: mlp.down_proj, mlp_gate: mlp.act_fn, attention: self_attn.o_proj}"
    ended = call(*small(place), "site=mlp_in", f"model.modules={modules}")
    assert (ended.status, "name its module: model.modules.mlp_in=PATH" in ended.error) == (1, True)
    ended = call(*own, "site=mlp_in", "selection=gradient_x_activation")
    assert (ended.status, "it needs basis=neurons, got basis=transcoder" in ended.error) == (1, True)
    ended = call(*own, "site=mlp_in", *lesions)
    assert ended.status == 0, ended.err
    [run] = runs_in(Path.cwd())
    folder = artifacts_of(run)
    key = json.loads((folder / "key_neurons.json").read_text())
    assert (key["site"], key["basis"]["name"], key["neurons_per_layer"]) == ("mlp_in", "transcoder", 80)
    assert "mlp_in.2.transcoder." in (folder / "summary.md").read_text()
    assert any(name.startswith("lesion/zero/change/") and value != 0 for name, value in results_of(run).items())
    ended = call("edit", run.info.run_id, "--tag", "NOUN", "--factor", "0", "--out", "edited", f"cache={place.cache}")
    assert (ended.status, "has units of basis=transcoder" in ended.error) == (1, True)


def test_a_plan_counts_units(call: Command, place: Place, sae: Path) -> None:
    ended = call("plan", *small(place), "basis=sae", f"basis.file={sae}")
    assert ended.status == 0, ended.err
    assert "words x 80 neurons" in ended.out
    assert "memory excludes latents that are not 0" in ended.out


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            ["selection=gradient_x_activation"],
            "selection=gradient_x_activation scores effects of neurons",
        ),
        (["layer=1"], "site=residual layer=2"),
        (["site=mlp"], "is an autoencoder of 32 neurons, but the site mlp has 48"),
        (["layer=[1,2]"], "is of one layer, but 2 layers are read"),
        (["basis.file=nowhere"], "nowhere: no such file"),
        (["top_k=81"], r"top_k must lie in 1..80"),
    ],
    ids=["gradients", "layer", "site", "layers", "file", "top_k"],
)
def test_what_has_no_meaning_is_refused_in_one_line(call: Command, place: Place, sae: Path, changes, problem) -> None:
    ended = call(*small(place), "basis=sae", f"basis.file={sae}", *changes)
    assert ended.status == 1
    assert problem in ended.error
    assert not list(Path.cwd().glob("outputs/*/*/key_neurons.json"))


def test_an_autoencoder_trained_by_the_example_is_read(call: Command, place: Place, monkeypatch, capfd) -> None:
    given = [each for each in place.whole if not each.startswith("top_k")]
    options = ["--folder", "saes", "--latents", "64", "--k", "8", "--steps", "150", "--batch", "128"]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *options, *given, "site=residual", f"cache={place.cache}"])
    with torch.random.fork_rng(), mock.patch.dict("os.environ", {"KEYNEURONS_CACHE": str(place.cache)}):
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    explained = float(capfd.readouterr().out.split()[2])
    assert 0 < explained <= 1
    ended = call("--config-dir", "saes/conf", "basis=small_sae", *small(place))
    assert ended.status == 0, ended.err
    [run] = runs_in(Path.cwd())
    assert (run.data.params["choice.basis"], run.data.params["basis.kind"]) == ("small_sae", "sae")
    assert run.info.run_name == "residual.2 sae k3 correlation"
