"""A single run on a tiny model: its outputs, and reuse of the cache by a second run."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from models import save_tiny_model
from safetensors import safe_open
from safetensors.torch import load_file
from user import (
    FEW_SETS,
    Command,
    Ended,
    Place,
    artifacts_of,
    client_of,
    output_folders,
    results_of,
    runs_in,
    write_treebank,
)

from keyneurons.activations.store import ActivationStore
from keyneurons.artifacts.run_tables import MLFLOW_TABLES
from keyneurons.data.word_features import CONFOUNDS
from keyneurons.metrics import GRAMMAR
from keyneurons.records import SPLITS
from keyneurons.tracking import view

pytestmark = pytest.mark.figures

TAGS = ["DET", "NOUN", "PRON", "VERB"]
FIGURES = ["accuracy", "overlap", "per_tag_f1", "figures/confusion", "figures/stability"]
METRICS = {
    "probe/test_accuracy",
    "probe/test_macro_f1",
    "probe/dev_accuracy",
    "probe/selectivity",
    "probe/advantage",
    "control/random/test_accuracy",
    "control/random/test_accuracy_std",
    "control/random/p_value",
    "control/all_neurons/test_accuracy",
    "control/majority/test_accuracy",
    "control/word_type/test_accuracy",
    "control/task/test_accuracy",
    "selection/union_size",
    "selection/union_fraction",
    "overlap/mean_coefficient",
    "overlap/mean_jaccard",
    "stability/halves/jaccard",
    "stability/halves/expected_jaccard",
    "stability/bootstrap/jaccard/NOUN",
    "confounds/vanishing",
    "redundancy/clusters",
    "redundancy/effective_dimension",
    *(f"{group}/{tag}" for group in ("probe/test_f1", "per_tag/f1", "per_tag/random_f1") for tag in TAGS),
}


@pytest.fixture(scope="module")
def home(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def small(place: Place, home: Path) -> list[str]:
    """A small run with all checks and its own empty cache."""
    return [*place.whole, f"cache={home / 'cache'}", "reliability.bootstraps=3"]


@pytest.fixture(scope="module")
def first(home: Path, small: list[str], command: Command) -> Ended:
    """The run that the tests of this module inspect."""
    ended = command(home, *small)
    assert ended.status == 0, ended.err
    return ended


@pytest.fixture(scope="module")
def folder(home: Path, first: Ended) -> Path:
    return output_folders(home)[0]


def test_the_console_shows_table_controls_and_verdict_and_nothing_else(first: Ended, folder: Path) -> None:
    assert first.err == ""
    head, *rest = first.out.splitlines()
    assert head == "llama, mlp, layer 2: 3 key neurons per tag by correlation"
    assert " ".join(rest[0].split()) == "tag train words best neuron score F1 random F1 p stability"
    assert [line.split()[0] for line in rest[1:5]] == TAGS
    for said in (
        "accuracy on test words",
        "matched random sets (mean of 99)",
        "neurons of highest variance",
        "form of the word alone",
        "all neurons",
        "control task",
        "most frequent tag of the word",
        "majority tag",
        "special: better than as many other neurons? ",
        "beyond the word form? ",
        "grammar: more than labels without grammar, also on unseen word types? not tested",
        "no test word has a type that train lacks",
        f"Results are in {folder.relative_to(folder.parents[2])}; compare runs with: keyneurons ui",
    ):
        assert said in first.out


def test_the_view_of_the_ui_names_what_a_run_has(home: Path, first: Ended) -> None:
    [run] = runs_in(home)
    unanswered = {GRAMMAR}  # the text has no unseen word types
    assert set(view.METRICS) - unanswered <= set(run.data.metrics)
    assert not unanswered & set(run.data.metrics)
    assert set(view.PARAMS) <= set(run.data.params)


def test_key_neurons_follow_the_schema(place: Place, folder: Path) -> None:
    found = json.loads((folder / "key_neurons.json").read_text("utf-8"))
    tags = found.pop("tags")
    assert found.pop("model").items() >= {"id": "llama", "random_weights": None}.items()
    assert found.pop("dataset")["id"] == "conllu"
    assert found == {
        "format": 1,
        "tag_column": "upos",
        "site": "mlp",
        "layers": [2],
        "neurons_per_layer": 48,
        "read_at": "word",
        "method": "correlation",
        "scope": "layer",
        "top_k": 3,
        "sign": "both",
        "mass": None,
        "threshold": "none",
        "alpha": 0.05,
        "seed": 0,
    }
    assert list(tags) == TAGS
    with safe_open(folder / "scores.safetensors", "pt") as scores:
        assert sorted(scores.keys()) == ["mlp.2", "mlp.2.p_value"]
        values = scores.get_tensor("mlp.2")
        assert json.loads(scores.metadata()["tags"]) == TAGS
    assert values.shape == (4, 48)
    for row, neurons in zip(values, tags.values(), strict=True):
        assert [n["layer"] for n in neurons] == [2, 2, 2]
        assert [n["neuron"] for n in neurons] == row.abs().sort(descending=True, stable=True).indices[:3].tolist()
        assert [n["score"] for n in neurons] == pytest.approx([row[n["neuron"]].item() for n in neurons])
        assert all(0 <= n["p_value"] <= n["p_adjusted"] <= 1 for n in neurons)
        assert all(set(n["confounds"]) == set(CONFOUNDS) and -1 <= n["partial"] <= 1 for n in neurons)
        assert {n["vanishes"] for n in neurons} <= {True, False}


def test_clusters_and_angles_cover_the_key_neurons(folder: Path) -> None:
    found = json.loads((folder / "redundancy.json").read_text("utf-8"))
    tags = json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"]
    union = {n["neuron"] for neurons in tags.values() for n in neurons}
    clustered = [n["neuron"] for cluster in found["clusters"] for n in cluster]
    assert sorted(clustered) == sorted(union)
    assert 1 <= found["effective_dimension"] <= len(union)
    assert list(found["effective_dimension_by_tag"]) == TAGS
    assert len(found["angles"]) == 6


def test_overlaps_are_matrices_of_the_tags_in_alphabetical_order(folder: Path) -> None:
    tags = json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"]
    sets = {tag: {n["neuron"] for n in neurons} for tag, neurons in tags.items()}
    by_hand = {
        "count": lambda a, b: len(a & b),
        "coefficient": lambda a, b: len(a & b) / min(len(a), len(b)),
        "jaccard": lambda a, b: len(a & b) / len(a | b),
        "p_value": None,
    }
    for name, measure in by_hand.items():
        with (folder / f"overlap_{name}.csv").open(encoding="utf-8") as file:
            header, *rows = list(csv.reader(file))
        assert header == ["tag", *TAGS]
        assert [row[0] for row in rows] == TAGS
        values = [[float(value) for value in row[1:]] for row in rows]
        if measure is None:
            assert all(0 <= value <= 1 for row in values for value in row)
        else:
            assert values == [[pytest.approx(measure(sets[a], sets[b])) for b in TAGS] for a in TAGS]


def test_metrics_hold_every_promised_name_and_agree_with_one_another(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert METRICS - set(metrics) == set()
    assert list(metrics) == sorted(metrics)
    assert metrics["probe/advantage"] == pytest.approx(
        metrics["probe/test_accuracy"] - metrics["control/random/test_accuracy"]
    )
    assert metrics["probe/selectivity"] == pytest.approx(
        metrics["probe/test_accuracy"] - metrics["control/task/test_accuracy"]
    )
    assert metrics["control/word_type/test_accuracy"] == 1  # each word of the treebank has one tag
    assert metrics["selection/union_fraction"] == metrics["selection/union_size"] / 48


def test_the_probe_file_predicts_alone(folder: Path) -> None:
    with safe_open(folder / "probe.safetensors", "pt") as probe:
        facts = probe.metadata()
        weight, bias, mean, std = (probe.get_tensor(name) for name in ("weight", "bias", "mean", "std"))
    neurons = facts["neurons"].split(",")
    assert json.loads(facts["tags"]) == TAGS
    assert weight.shape == (len(neurons), 4)
    assert (bias.shape, mean.shape, std.shape) == ((4,), (len(neurons),), (len(neurons),))
    tags = json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"]
    assert set(neurons) == {f"{n['layer']}.{n['neuron']}" for found in tags.values() for n in found}
    assert torch.isfinite(weight).all()


def test_tables_have_the_key_neurons_and_the_f1_of_every_tag(folder: Path) -> None:
    tags = json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"]
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    with (folder / "key_neurons.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    neurons = [(tag, str(i), str(n["neuron"]), str(n["score"])) for tag in tags for i, n in enumerate(tags[tag], 1)]
    assert [(row["tag"], row["rank"], row["neuron"], row["score"]) for row in rows] == neurons
    with (folder / "per_tag.csv").open(encoding="utf-8", newline="") as file:
        f1 = {row["tag"]: (float(row["f1"]), float(row["probe_f1"])) for row in csv.DictReader(file)}
    assert f1 == {tag: (metrics[f"per_tag/f1/{tag}"], metrics[f"probe/test_f1/{tag}"]) for tag in TAGS}


def test_the_probe_learns_by_epoch_and_stops_after_its_best(folder: Path) -> None:
    curves = json.loads((folder / "curves.json").read_text("utf-8"))
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    best = str(int(metrics["probe/epochs"]))
    assert {"epoch/train_loss", "epoch/dev_loss", "epoch/dev_accuracy"} <= set(curves)
    assert curves["epoch/dev_accuracy"][best] == pytest.approx(metrics["probe/dev_accuracy"])
    assert curves["epoch/train_loss"][best] < curves["epoch/train_loss"]["1"]


def test_figures_are_pictures(folder: Path) -> None:
    for name in FIGURES:
        assert (folder / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_mlflow_run_holds_all_of_it(home: Path, folder: Path) -> None:
    [found] = runs_in(home)
    run = client_of(home).get_run(found.info.run_id)
    assert run.info.status == "FINISHED"
    assert results_of(run) == pytest.approx(json.loads((folder / "metrics.json").read_text("utf-8")))
    curves = json.loads((folder / "curves.json").read_text("utf-8"))
    assert {name: run.data.metrics[name] for name in curves} == pytest.approx({
        name: curve[max(curve, key=int)] for name, curve in curves.items()
    })
    config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    expected = {
        "top_k": "3",
        "layer": "2",
        "model.source": "local",
        "dataset.max_words.dev": "null",
        "selection._target_": "keyneurons.selection.methods.correlation.Correlation",
        "probe.optimizer.lr": "0.07",
        "control.random.sets": "99",
        "trainer.accelerator": "cpu",
        "seed": "0",
    }
    assert run.data.params.items() >= expected.items()
    assert {key.partition(".")[0] for key in run.data.params} >= set(config)
    tags = run.data.tags
    wanted = {"model": "llama", "layer": "2", "site": "mlp", "dataset": "conllu", "selection": "correlation"}
    assert tags.items() >= {**wanted, "top_k": "3"}.items()
    assert {"git_commit", "neuron_sets", "keyneurons_version"} <= set(tags)
    assert "| DET |" in tags["mlflow.note.content"]
    assert "matched random sets" in tags["mlflow.note.content"]
    given = {each.tags[0].value: each.dataset for each in run.inputs.dataset_inputs}
    assert [(context, data.name) for context, data in given.items()] == [(split, "conllu") for split in SPLITS]
    profile = json.loads((folder / "run.json").read_text("utf-8"))["dataset"]["profile"]
    assert all(profile[split]["digest"].startswith(data.digest) for split, data in given.items())
    tables = json.loads(tags["mlflow.loggedArtifacts"])
    assert [table["path"] for table in tables] == list(MLFLOW_TABLES)
    artifacts = artifacts_of(run)
    for path in ("key_neurons.json", "overlap_count.csv", "metrics.json", "scores.safetensors", "probe.safetensors"):
        assert (artifacts / path).read_bytes() == (folder / path).read_bytes()
    assert all((artifacts / f"{name}.png").is_file() for name in FIGURES)
    assert (artifacts / "config.yaml").is_file()


def test_a_repeated_run_gives_the_same_bits(call: Command, small: list[str], folder: Path) -> None:
    assert call(*small).status == 0
    [again] = output_folders(Path.cwd())
    for name in ("key_neurons.json", "metrics.json", "overlap_p_value.csv", "summary.md"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    for name in ("scores.safetensors", "probe.safetensors"):  # the order of the metadata varies
        old, new = load_file(folder / name), load_file(again / name)
        assert old.keys() == new.keys()
        assert all(torch.equal(old[key], new[key]) for key in old)


def test_another_method_and_k_read_nothing_and_load_no_model(
    call: Command, home: Path, small: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModel

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    assert "reading" in (folder / "keyneurons.log").read_text("utf-8")
    monkeypatch.setattr(AutoModel, "from_pretrained", refuse)
    entries = sorted((home / "cache").rglob("*.npy"))
    ended = call(*small, *FEW_SETS, "selection=mutual_information", "top_k=5", "scope=model")
    assert ended.status == 0, ended.err
    assert sorted((home / "cache").rglob("*.npy")) == entries
    [again] = output_folders(Path.cwd())
    assert "reading" not in (again / "keyneurons.log").read_text("utf-8")
    found = json.loads((again / "key_neurons.json").read_text("utf-8"))
    assert (found["method"], found["top_k"], found["scope"]) == ("mutual_information", 5, "model")
    assert all(len(neurons) == 5 for neurons in found["tags"].values())


def test_other_weights_under_the_same_name_are_read_anew(call: Command, small: list[str], folder: Path) -> None:
    other = save_tiny_model(Path("llama").absolute(), seed=1)
    ended = call(*small, *FEW_SETS, f"model.folder={other}")
    assert ended.status == 0, ended.err
    [again] = output_folders(Path.cwd())
    assert "reading" in (again / "keyneurons.log").read_text("utf-8")
    old, new = (load_file(path / "scores.safetensors")["mlp.2"] for path in (folder, again))
    assert not torch.equal(old, new)
    shutil.rmtree(other)


def test_several_layers_at_another_site_in_front_of_the_word(call: Command, place: Place) -> None:
    ended = call(*place.small, "layer=[-1,0]", "site=residual", "read_at=prediction", "selection=l1_probe")
    assert ended.status == 0, ended.err
    [folder] = output_folders(Path.cwd())
    found = json.loads((folder / "key_neurons.json").read_text("utf-8"))
    assert (found["layers"], found["neurons_per_layer"], found["read_at"]) == ([0, 3], 32, "prediction")
    assert all([n["layer"] for n in neurons].count(0) == 3 for neurons in found["tags"].values())
    assert (folder / "figures" / "layers.png").is_file()
    assert all(n["p_value"] is None for neurons in found["tags"].values() for n in neurons)


def test_moments_give_the_metrics_of_stored_activations(call: Command, small: list[str], folder: Path) -> None:
    ended = call(*small, f"cache={Path('own').absolute()}", "activations.store=moments", "reliability.bootstraps=0")
    assert ended.status == 0, ended.err
    assert "not measured: all neurons: the activations of all neurons are not stored (activations.s" in ended.out
    assert "not measured: worth in random neurons" in ended.out
    assert not list(Path("own").rglob("mlp.*.npy"))
    records, foreign = ActivationStore(Path("own/activations")).summaries()
    assert (len(records), foreign) == (3, [])
    assert all(record["arrays"] for record in records)
    [again] = output_folders(Path.cwd())
    here, there = (json.loads((path / "metrics.json").read_text("utf-8")) for path in (again, folder))
    assert here == pytest.approx({name: there[name] for name in here})
    assert here["probe/test_accuracy"] == there["probe/test_accuracy"]
    assert {name.split("/")[1] for name in there.keys() - here if name.startswith("control/")} == {"all_neurons"}


def test_a_method_that_needs_values_scores_a_sample(call: Command, small: list[str]) -> None:
    ended = call(*small, "selection=mutual_information", "sample_words=60", "activations.store=moments", *FEW_SETS)
    assert ended.status == 0, ended.err
    assert "neurons scored on 60 of " in ended.out
    [folder] = output_folders(Path.cwd())
    assert json.loads((folder / "metrics.json").read_text("utf-8"))["selection/sampled_words"] == 60


def test_words_of_unseen_types_are_measured_beside_the_normal_split(
    call: Command, small: list[str], folder: Path
) -> None:
    ended = call(*small, "split=unseen_words", "dataset.min_words_per_tag=5")
    assert ended.status == 0, ended.err
    [again] = output_folders(Path.cwd())
    here, there = (json.loads((path / "metrics.json").read_text("utf-8")) for path in (again, folder))
    assert here["probe/test_accuracy"] == there["probe/test_accuracy"]
    assert here["unseen_words/control/word_type/test_accuracy"] == here["unseen_words/control/majority/test_accuracy"]
    assert 0 < here["unseen_words/data/test_words"] < here["data/test_words"]
    assert "test words of unseen types" in ended.out


def test_a_null_result_is_told_as_one(call: Command, small: list[str]) -> None:
    ended = call(*small, "selection=random", "threshold.kind=permutation", "threshold.permutations=30", *FEW_SETS)
    assert ended.status == 0, ended.err
    assert "No key neurons: no neuron passes threshold.kind=permutation, threshold.alpha=0.05, sign=both." in ended.out
    [folder] = output_folders(Path.cwd())
    assert json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"] == {tag: [] for tag in TAGS}
    [run] = runs_in(Path.cwd())
    assert run.info.status == "FINISHED"
    assert run.data.metrics["selection/union_size"] == 0


@pytest.mark.parametrize("method", ["elastic_net", "gaussian_probe", "lape"])
def test_methods_that_see_all_neurons_run_with_every_check(call: Command, small: list[str], method: str) -> None:
    ended = call(*small, f"selection={method}", "site=mlp_gate", *FEW_SETS)
    assert ended.status == 0, ended.err
    [run] = runs_in(Path.cwd())
    assert run.data.params["choice.selection"] == method
    assert "stability/bootstrap/jaccard" in run.data.metrics


def test_the_method_that_bottom_turns_round_is_chosen_by_its_name(call: Command, small: list[str]) -> None:
    ended = call(*small, "selection=bottom", "selection@selection.of=mutual_information", *FEW_SETS)
    assert ended.status == 0, ended.err
    [run] = runs_in(Path.cwd())
    assert run.data.params["selection.of._target_"].endswith("MutualInformation")


def test_a_model_that_sees_both_sides(call: Command, place: Place) -> None:
    ended = call(*place.small, f"model.folder={place.bert}", "control=[random,task,word_type,majority]")
    assert ended.status == 0, ended.err
    [folder] = output_folders(Path.cwd())
    assert "control/all_neurons/test_accuracy" not in json.loads((folder / "metrics.json").read_text("utf-8"))
    assert "all neurons" not in ended.out


def test_the_experiment_of_ewt_runs_on_files_of_that_name(call: Command) -> None:
    Path("ewt").mkdir()
    for i, split in enumerate(("train", "dev", "test")):
        write_treebank(Path("ewt") / f"en_ewt-ud-{split}.conllu", 60 if split == "train" else 30, seed=i)
    deep = save_tiny_model(Path("deep").absolute(), layers=10)
    given = ["model=local", f"model.folder={deep}", "dataset.folder=ewt", "trainer=cpu"]
    ended = call("experiment=ewt_prototype", *given, *FEW_SETS)
    assert ended.status == 0, ended.err
    [folder] = output_folders(Path.cwd())
    found = json.loads((folder / "key_neurons.json").read_text("utf-8"))
    assert (found["site"], found["layers"], found["dataset"]["id"]) == ("residual", [9], "ud_english_ewt")
    [run] = runs_in(Path.cwd())
    assert run.data.params["choice.experiment"] == "ewt_prototype"
    assert "matched random sets (mean of 2)" in ended.out
