"""Runs that select neurons by attribution, from the command line to MLflow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from user import artifacts_of, client_of, output_folders, runs_in

from keyneurons.models.language_model import LanguageModel

pytestmark = pytest.mark.figures

QUICK = ["selection.words_per_tag=6", "selection.min_context=1", "selection.share=0.1"]
INTEGRALS = ["selection=integrated_gradients", "selection.steps=4", *QUICK]


@pytest.fixture(scope="module")
def small(place):
    return [override for override in place.small if override != "layer=2"]


def test_a_run_by_attribution_needs_no_model_the_second_time(call, tmp_path, small, monkeypatch):
    first = call(*INTEGRALS, *small, "layer=[1,2]")
    assert first.status == 0, first.err
    assert "train words per tag, at the position that predicts them" in first.out
    (run,) = runs_in(tmp_path)
    assert run.data.tags["selection"] == "integrated_gradients"
    assert run.data.params["selection.steps"] == "4"
    by_layer = client_of(tmp_path).get_metric_history(run.info.run_id, "layer/attribution/residual")
    assert 0 <= run.data.metrics["attribution/residual"] == max(metric.value for metric in by_layer)
    assert [metric.step for metric in by_layer] == [1, 2]
    assert run.data.metrics["attribution/words"] == 24
    found = json.loads((artifacts_of(run) / "key_neurons.json").read_text("utf-8"))
    neurons = [neuron for own in found["tags"].values() for neuron in own]
    assert {neuron["layer"] for neuron in neurons} == {1, 2}
    assert all(0 < neuron["score"] <= 1 and 0 <= neuron["effect"] <= 1 for neuron in neurons)

    def unloadable(*_):
        raise ValueError("the weights were loaded")

    monkeypatch.setattr(LanguageModel, "_load", unloadable)
    again = call(*INTEGRALS, *small, "layer=[1,2]", "selection.share=0.2")
    other = call(*INTEGRALS, *small, "layer=[1,2]", "selection.steps=5")
    assert again.status == 0, again.err
    assert other.status == 1
    assert "the weights were loaded" in other.err


def test_nothing_is_kept_and_the_sets_are_the_same(call, tmp_path, small):
    off = ["reliability.halves=0", "worth.sizes=0", "control=[random,task,word_type,majority]", "layer=2"]
    kept = call(*INTEGRALS, *small, *off)
    passing = call(*INTEGRALS, *small, *off, "activations.store=moments")
    assert (kept.status, passing.status) == (0, 0), passing.err
    one, other = (json.loads((f / "key_neurons.json").read_text("utf-8")) for f in output_folders(tmp_path))
    assert one["tags"].keys() == other["tags"].keys()
    for tag in one["tags"]:
        assert [n["neuron"] for n in one["tags"][tag]] == [n["neuron"] for n in other["tags"][tag]]


def test_curves_over_the_layers_are_files_figures_and_metrics_by_layer(call, tmp_path, small):
    done = call(*small, "layer=[0,2,3]", "layer_by_layer.read_at=[word,prediction]", "layer_by_layer.concepts=true")
    assert done.status == 0, done.err
    assert "layer by layer, read at the word: accuracy 0." in done.out
    assert "layer by layer, read at the prediction: accuracy 0." in done.out
    (run,) = runs_in(tmp_path)
    folder = artifacts_of(run)
    for read_at in ("word", "prediction"):
        history = client_of(tmp_path).get_metric_history(run.info.run_id, f"layer/{read_at}/probe/test_accuracy")
        assert [metric.step for metric in history] == [0, 2, 3]
        lines = (folder / f"layers_{read_at}.csv").read_text("utf-8").splitlines()
        column = lines[0].split(",").index("probe/test_accuracy")
        told = [float(line.split(",")[column]) for line in lines[1:]]
        assert told == pytest.approx([metric.value for metric in history])
        concepts = (folder / f"concepts_{read_at}.csv").read_text("utf-8").splitlines()
        assert concepts[0] == "layer,tag,concept,accuracy,null_mean,p_value,train_words,test_words"
        assert len(concepts) == 1 + 3 * 4 * 2
        cosine = np.loadtxt(folder / f"concept_cosine_{read_at}.csv", delimiter=",", skiprows=1, usecols=range(1, 5))
        np.testing.assert_allclose(np.diag(cosine), 1)
    for figure in ("accuracy_by_layer", "concepts", "concept_cosine"):
        assert (folder / "figures" / f"{figure}.png").stat().st_size > 5000
    # the activation of a word determines its tag, since each word of this treebank has one tag
    assert run.data.metrics["layers/word/best_test_accuracy"] > run.data.metrics["layers/prediction/best_test_accuracy"]


@pytest.mark.slow
def test_the_experiment_of_the_paper_runs_on_another_model_and_treebank(call, tmp_path, place, small):
    own = [o for o in small if not o.startswith("top_k")]
    done = call(
        "experiment=paper_2511_06519",
        *own,
        "top_k=4",
        "dataset.tags=[DET,NOUN,PRON,VERB]",
        "selection.steps=5",
        "layer_by_layer.concept_draws=20",
        *QUICK,
    )
    assert done.status == 0, done.err
    folder = output_folders(tmp_path)[0]
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert metrics["attribution/words"] == 24
    found = json.loads((folder / "key_neurons.json").read_text("utf-8"))
    assert (found["read_at"], found["threshold"], found["layers"]) == ("prediction", "fdr", [0, 1, 2, 3])


def test_attribution_stands_beside_other_methods_in_an_agreement(call, tmp_path, small):
    done = call(
        "agreement",
        "selection=[integrated_gradients,gradient_x_activation,correlation]",
        *[o for o in small if not o.startswith("top_k")],
        "layer=[1,3]",
        "top_k=5",
    )
    assert done.status == 0, done.err
    assert "3 methods, 5 key neurons per tag" in done.out
    (folder,) = output_folders(tmp_path)
    assert (folder / "figures" / "layers.png").stat().st_size > 5000
    table = (folder / "agreement_layers.csv").read_text("utf-8").splitlines()
    assert table[0] == "method,1,3"
    assert [sum(map(int, line.split(",")[1:])) for line in table[1:]] == [
        20,
        20,
        20,
    ]  # five words for each of four tags


def test_measured_ablations_stand_beside_the_attributions_that_chose_them(call, tmp_path, small):
    off = ["reliability.halves=0", "reliability.redundancy=false", "worth.sizes=0", "control=[random,task]"]
    own = [*small, *off, "layer=2", "selection.words_per_tag=6", "selection.min_context=1", "selection.candidates=4"]
    done = call("selection=ablation_effect", *own)
    assert done.status == 0, done.err
    told = "ablations of the 4 strongest neurons per tag and layer by GradientXActivation, measured on 6 train words"
    assert told in " ".join(done.out.split())
    found = json.loads((output_folders(tmp_path)[0] / "key_neurons.json").read_text("utf-8"))
    assert (found["method"], found["scored_at"]) == ("ablation_effect", "prediction")
    assert (found["attribution"]["kind"], found["attribution"]["by"]["target"]) == ("AblationEffect", "log_probability")
    compared = call("agreement", "selection=[ablation_effect,gradient_x_activation]", *small, "layer=2")
    assert compared.status == 0, compared.err
    assert "2 methods" in compared.out
    planned = call("plan", "selection=ablation_effect", *own)
    assert "ablations: at most 16 neurons on 24 words" in planned.out


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["selection=integrated_gradients", "selection.steps=0"], ["selection: ", "steps", "at least 1, got 0"]),
        (["selection=integrated_gradients", "selection.path=all"], ["path", "layer", "joint", "'all'"]),
        (["selection=integrated_gradients", "selection.share=1.5"], ["share must lie between 0 and 1"]),
        (["selection=gradient_x_activation", "selection.steps=5"], ["selection.steps", "rank_by"]),
        (["selection=integrated_gradients", "threshold.kind=permutation"], ["threshold.kind=fdr"]),
        (["selection=gradient_x_activation", "selection.rank_by=mean", "threshold.kind=fdr"], ["fdr needs p-values"]),
        (["selection=integrated_gradients", "selection.min_context=40"], ["tag ", "selection.min_context"]),
        (["selection=integrated_gradients", "selection.steps=2.5"], ["steps", "2.5"]),
        (["selection=gradient_x_activation", "selection.min_context=null"], ["min_context"]),
        (["selection=gradient_x_activation", "selection.signed=maybe"], ["signed", "maybe"]),
        (["selection=gradient_x_activation", "selection.min_probability=abc"], ["min_probability", "abc"]),
        (["selection=integrated_gradients", "selection.path=joint", "site=residual", "layer=all"], ["path=layer"]),
        (["selection=ablation_effect", "selection.candidates=99"], ["selection.candidates must lie in 1..", "got 99"]),
        (["selection=ablation_effect", "selection.ablation=median"], ["ablation", "zero", "mean", "median"]),
        (["selection=ablation_effect", "activations.store=moments"], ["activations.store=true"]),
        (["selection=ablation_effect", "threshold.kind=fdr"], ["has no p-values; use threshold.kind=none"]),
        (["layer_by_layer.concepts=true"], ["concepts=true needs layer_by_layer.read_at"]),
        (["layer_by_layer.read_at=[prediction]", "model.bos=null"], ["model.bos"]),
        (["layer_by_layer.read_at=[words]"], ["layer_by_layer.read_at", "word", "prediction"]),
        (["layer_by_layer.read_at=[word]", "activations.store=moments"], ["layer_by_layer.read_at=[]"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_attributed_is_told_in_one_line(call, tmp_path: Path, place, overrides, told):
    ended = call(*place.small, *overrides)
    assert ended.status == 1
    assert all(piece in ended.error for piece in told), ended.error


def test_values_of_the_wrong_type_are_told_by_their_names(command, tmp_path, place):
    """Runs in a subprocess, since beartype checks the types in this process."""
    wrong = {
        "selection.steps=2.5": "selection: steps must be a whole number and at least 1, got 2.5",
        "selection.signed=maybe": "selection: signed must be true or false, got 'maybe'",
    }
    for override, told in wrong.items():
        ended = command(tmp_path, "selection=integrated_gradients", override, *place.small)
        assert ended.error == f"keyneurons: error: {told}"
    turned = command(tmp_path, "selection=bottom", "selection@selection.of=integrated_gradients", *place.small)
    assert "bottom reverses methods that score activations, not attributions" in turned.error


def test_a_model_that_does_not_predict_has_no_attributions(call, place):
    for method in ("gradient_x_activation", "ablation_effect"):
        ended = call(f"selection={method}", "model=local", f"model.folder={place.bert}", *place.data, "layer=2")
        assert ended.status == 1
        assert "needs a model that predicts the next token" in ended.error
