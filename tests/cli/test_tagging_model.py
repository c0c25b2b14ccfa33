"""The MLflow model of a run tags words as its probe does, also in the commands of MLflow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import torch
from models import save_tiny_model
from safetensors import safe_open
from user import QUICK, Command, Place, client_of, output_folders, runs_in

from keyneurons.activations.reader import ActivationReader
from keyneurons.artifacts.plain import read_yaml
from keyneurons.artifacts.probe import read_probe
from keyneurons.build.dataset import build_dataset
from keyneurons.config.validation import validate_plain
from keyneurons.data.word_splitting import split_words
from keyneurons.runs.tagger import joined_words, load_tagger
from keyneurons.tracking import log_folder

TEXT = "she reads the house"


@pytest.fixture(scope="module")
def home(place: Place, here: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("model")
    ended = here(home, *place.small, *QUICK, "layer=[1,2]")
    assert ended.status == 0, ended.err
    return home


@pytest.fixture(scope="module")
def folder(home: Path) -> Path:
    return output_folders(home)[0]


def test_given_words_are_joined_by_spaces() -> None:
    sentence = joined_words(["do", "n't", "New York"])
    assert sentence.text == "do n't New York"
    assert [sentence.text[word.start : word.end] for word in sentence.words] == ["do", "n't", "New York"]
    with pytest.raises(ValueError, match="row 3: a word must be text without spaces around it, got ''"):
        joined_words(["a", ""], "row 3")


def test_the_model_predicts_what_the_file_of_the_probe_does(folder: Path) -> None:
    """The oracle reads the activations with hidden states, and applies the tensors by hand."""
    model = mlflow.pyfunc.load_model(str(folder / "model"))
    found = model.predict(pd.DataFrame({"text": [TEXT, "", "the key"]}))
    assert found["words"].tolist() == [TEXT.split(), [], ["the", "key"]]
    with safe_open(folder / "probe.safetensors", "np") as file:
        facts = file.metadata()
        weight, bias, mean, std = (file.get_tensor(name) for name in ("weight", "bias", "mean", "std"))
    tagger = load_tagger(folder)
    assert isinstance(tagger.read, ActivationReader)
    values = dict(tagger.read([split_words(TEXT)], "oracle"))
    neurons = [tuple(map(int, text.split("."))) for text in facts["neurons"].split(",")]
    features = np.stack([values[layer][:, neuron].astype(np.float32) for layer, neuron in neurons], axis=1)
    scale = np.divide(1, std, where=std > 0, out=np.zeros_like(std))
    logits = (features - mean) * scale @ weight + bias
    probability = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    tags = [json.loads(facts["tags"])[i] for i in probability.argmax(axis=1)]
    assert found["tags"][0] == tags
    assert found["probabilities"][0] == pytest.approx(probability.max(axis=1), abs=1e-3)


def test_words_and_text_give_the_same(folder: Path) -> None:
    tagger = load_tagger(folder)
    by_text = tagger.predict(pd.DataFrame({"text": [TEXT]}))
    by_words = tagger.predict(pd.DataFrame({"words": [TEXT.split()]}))
    assert by_text.equals(by_words)
    with pytest.raises(ValueError, match="row 0 needs a text in the column text, or a list in the column words"):
        tagger.predict(pd.DataFrame({"other": [TEXT]}))


def test_its_accuracy_on_the_test_sentences_is_that_of_the_run(folder: Path) -> None:
    config = validate_plain(read_yaml(folder / "config.yaml"))
    tagger = load_tagger(folder)
    test = build_dataset(config.dataset, config.cache, config.seed).load(tagger.read).splits["test"]
    words = [word.upos for sentence in test for word in sentence.words]
    tags = [tag for tagged in tagger(test) for tag in tagged.tags]
    accuracy = json.loads((folder / "metrics.json").read_text("utf-8"))["probe/test_accuracy"]
    assert np.mean([tag == word for tag, word in zip(tags, words, strict=True)]) == pytest.approx(accuracy)
    assert accuracy > 0.4


def test_mlflow_commands_serve_it(folder: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    request = {"dataframe_split": {"columns": ["text"], "data": [[TEXT]]}}
    (tmp_path / "in.json").write_text(json.dumps(request))
    arguments = ["-m", str(folder / "model"), "-i", "in.json", "-o", "out.json", "--env-manager", "local"]
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "models", "predict", *arguments],
        cwd=tmp_path,
        env={**environment, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    [answer] = json.loads((tmp_path / "out.json").read_text())["predictions"]
    assert answer["words"] == TEXT.split()
    assert answer["tags"] == load_tagger(folder).predict(pd.DataFrame({"text": [TEXT]}))["tags"][0]


def test_it_is_a_logged_model_of_the_run(home: Path, folder: Path) -> None:
    [run] = runs_in(home)
    client = client_of(home)
    [output] = client.get_run(run.info.run_id).outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert (model.name, model.model_type, str(model.status)) == ("probe", "probe", "READY")
    assert model.source_run_id == run.info.run_id
    assert {metric.key: metric.value for metric in model.metrics}["probe/test_accuracy"] == run.data.metrics[
        "probe/test_accuracy"
    ]
    mlmodel = Path(model.artifact_location.removeprefix("file://")) / "MLmodel"
    assert mlmodel.read_text() == (folder / "model" / "MLmodel").read_text()


def test_no_file_of_it_is_code_or_pickled(folder: Path) -> None:
    suffixes = {path.suffix for path in (folder / "model").rglob("*") if path.is_file()}
    assert suffixes == {"", ".json", ".yaml", ".safetensors", ".txt"}
    loaded = mlflow.pyfunc.load_model(str(folder / "model")).metadata
    assert loaded.flavors["python_function"]["loader_module"] == "keyneurons.runs.tagger"
    assert loaded.get_input_schema().input_names() == ["text", "words"]
    assert loaded.load_input_example(str(folder / "model")).columns.tolist() == ["text"]


def test_another_language_model_is_refused(folder: Path, place: Place, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / place.llama.name, seed=1)
    copy = shutil.copytree(folder / "model" / "run", tmp_path / "run")
    config = (copy / "config.yaml").read_text().replace(str(place.llama), str(other))
    (copy / "config.yaml").write_text(config)
    with pytest.raises(ValueError, match=r"key_neurons\.json is bound to revision .*, this run has "):
        load_tagger(copy)


def test_a_damaged_probe_is_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "probe.safetensors").read_bytes()
    (tmp_path / "probe.safetensors").write_bytes(whole[: len(whole) // 2])
    for path in (tmp_path / "probe.safetensors", tmp_path / "absent.safetensors"):
        with pytest.raises(ValueError, match="safetensors is damaged"):
            read_probe(path, "mlp")
    with pytest.raises(ValueError, match="has neurons of mlp, expected residual"):
        read_probe(folder / "probe.safetensors", "residual")
    assert torch.isfinite(read_probe(folder / "probe.safetensors", "mlp").probe.weight).all()


def test_first_words_are_left_out_where_words_are_predicted(call: Command, place: Place) -> None:
    ended = call(*place.small, *QUICK, "read_at=prediction", "tracking.log_model=always")
    assert ended.status == 0, ended.err
    [folder] = output_folders(Path.cwd())
    found = mlflow.pyfunc.load_model(str(folder / "model")).predict(pd.DataFrame({"text": [TEXT, "she"]}))
    assert found["words"].tolist() == [TEXT.split()[1:], []]


def test_jobs_of_a_sweep_have_no_model_unless_asked(here: Command, place: Place, tmp_path: Path) -> None:
    assert here(tmp_path, "-m", *place.small, *QUICK, "top_k=2,3").status == 0
    assert not list(tmp_path.rglob("MLmodel"))
    assert here(tmp_path / "never", *place.small, *QUICK, "tracking.log_model=never").status == 0
    assert not list((tmp_path / "never").rglob("MLmodel"))


def test_the_model_is_sent_later_with_its_run(folder: Path, tmp_path: Path) -> None:
    from keyneurons.tracking import Store

    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "mlflow_run.json").unlink()
    facts = json.loads((copy / "run.json").read_text("utf-8"))
    del facts["run_id"], facts["uri"]
    (copy / "run.json").write_text(json.dumps(facts))
    store = Store(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts", "test")
    client = store.connect()
    run = client.get_run(log_folder(store, copy))
    assert len(run.outputs.model_outputs) == 1
    [model] = client.search_logged_models([run.info.experiment_id])
    assert model.source_run_id == run.info.run_id
