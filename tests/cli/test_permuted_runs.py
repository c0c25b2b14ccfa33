"""A sweep over trained and permuted weights, and everything that names its runs."""

from __future__ import annotations

import json

import pytest
from user import QUICK, artifacts_of, output_folders, runs_in

from keyneurons.artifacts.run_sets import FILTERS

NAMES = {"null": "llama", "0": "llama with permuted weights (seed 0)", "1": "llama with permuted weights (seed 1)"}


@pytest.mark.slow
def test_a_sweep_has_one_trained_model_and_its_controls(call, place, tmp_path):
    ended = call("-m", *place.small, *QUICK, "model.random_weights=null,0,1")
    assert ended.status == 0, ended.err
    parent, *jobs = runs_in(tmp_path)
    by_seed = {run.data.params["model.random_weights"]: run for run in jobs}
    assert {seed: run.data.tags["model"] for seed, run in by_seed.items()} == NAMES
    assert {run.info.run_name for run in jobs} == {
        "mlp.2 k3 correlation",
        "mlp.2 k3 correlation permuted weights (seed 0)",
        "mlp.2 k3 correlation permuted weights (seed 1)",
    }
    bound, scores = {}, {}
    for seed, run in by_seed.items():
        file = json.loads((artifacts_of(run) / "key_neurons.json").read_text("utf-8"))
        bound[seed] = file["model"]["random_weights"]
        scores[seed] = json.dumps(file["tags"])
        assert f"{NAMES[seed]}, mlp, layer 2" in run.data.tags["mlflow.note.content"]
    assert bound == {"null": None, "0": 0, "1": 1}
    assert len(set(scores.values())) == 3
    page = (artifacts_of(parent) / "comparison" / "report.html").read_text("utf-8")
    assert "permuted weights (seed 0)" in page
    assert "trained weights" in page
    assert "different random_weights" in page

    alone = call("compare", "filter=" + FILTERS["random_weights"].format("null"))
    assert "1 run" in alone.out
    inspected = call("inspect", by_seed["1"].info.run_id, "--tag", "NOUN")
    assert inspected.status == 0, inspected.err
    (page,) = tmp_path.glob("outputs/**/inspect_NOUN.html")
    assert NAMES["1"] in page.read_text("utf-8")
    planned = call("plan", *place.small, "model.random_weights=1")
    assert "; permuted weights (seed 1)" in planned.out
    assert "cache: 3 of 3 arrays are cached" in planned.out
    assert "cache: " not in call("plan", *place.small, "model.random_weights=2").out

    for seed, other in (("0", "null"), ("0", "1"), ("null", "0")):
        neurons = f"lesion.neurons={by_seed[seed].info.run_id}"
        refused = call(*place.small, *QUICK, "lesion=zero", neurons, f"model.random_weights={other}")
        theirs, own = bound[seed], bound[other]
        assert f"is bound to random_weights {theirs}, this run has {own}" in refused.error


@pytest.mark.slow
def test_lesions_and_attribution_of_a_permuted_model(call, place, tmp_path):
    more = [
        "lesion=zero",
        "lesion.families=[random]",
        "lesion.sets=3",
        "lesion.bootstraps=20",
        "model.random_weights=0",
    ]
    ended = call(*place.small, *QUICK, *more, "selection=gradient_x_activation")
    assert ended.status == 0, ended.err
    (folder,) = output_folders(tmp_path)
    assert (folder / "lesion_change.csv").is_file()
