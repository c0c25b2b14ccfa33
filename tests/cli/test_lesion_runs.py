"""Runs that lesion key neurons, from the command line to MLflow."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from user import artifacts_of, output_folders, runs_in

from keyneurons.config.compose import checked
from keyneurons.pipeline import experiment
from keyneurons.sweeps.jobs import check_jobs

pytestmark = pytest.mark.figures

FEW = ["lesion.sets=3", "lesion.further_sets=0", "lesion.sentences=9", "lesion.bootstraps=20", "reliability.halves=0"]


def test_a_run_with_lesions_leaves_matrices_metrics_and_a_verdict(call, tmp_path, place):
    families = "lesion.families=[random,variance,frequency,lowest]"
    done = call(*place.small, "lesion=zero", *FEW, families, "lesion.shares=[0.5,1]")
    assert done.status == 0, done.err
    assert "surprisal in bits per word under lesions (ablations) of each tag's key neurons" in done.out
    assert "Lesions (zero)" in done.out
    (run,) = runs_in(tmp_path)
    folder, metrics = artifacts_of(run), run.data.metrics
    table = np.loadtxt(folder / "lesion_change.csv", delimiter=",", skiprows=1, usecols=range(1, 5))
    names = (folder / "lesion_change.csv").read_text("utf-8").splitlines()[0].split(",")[1:]
    for i, tag in enumerate(names):
        assert metrics[f"lesion/zero/change/{tag}"] == pytest.approx(table[i, i])
        assert 0 < metrics[f"lesion/zero/random/p_value/{tag}"] <= 1
    for prefix in ("lesion", "lesion/zero/random", "lesion/zero/lowest"):
        both = (metrics[f"{prefix}/additive_p_value"], metrics[f"{prefix}/multiplicative_p_value"])
        assert 0 < metrics[f"{prefix}/diagonal_p_value"] == max(both) <= 1
        assert metrics[f"{prefix}/diagonal_advantage_low"] < metrics[f"{prefix}/diagonal_advantage_high"]
    assert "with 3 sets, p of a tag is at least 0.250, so no change of a single tag can be significant" in done.out
    assert "do not hurt" not in done.out
    for family in ("random", "variance", "frequency", "lowest"):
        assert (folder / f"lesion_beyond_{family}.csv").is_file()
    found = json.loads((folder / "lesion.json").read_text("utf-8"))
    assert set(found["doses"]) == {"0.5", "1.0"}
    assert (folder / "figures" / "lesion.png").stat().st_size > 5000
    assert (folder / "figures" / "lesion_doses.png").stat().st_size > 5000
    assert "Lesions (zero)" in run.data.tags["mlflow.note.content"]


def test_by_default_few_sets_answer_the_question(call, tmp_path, place):
    done = call(*place.small, "lesion=zero", "lesion.sentences=9", "lesion.tags=3", "reliability.halves=0")
    assert done.status == 0, done.err
    (run,) = runs_in(tmp_path)
    lesioned = {name.rpartition("/")[2]: n for name, n in run.data.metrics.items() if "/random/sets/" in name}
    assert len(lesioned) == 3
    assert set(lesioned.values()) <= {5, 10, 15, 20}
    rows = (artifacts_of(run) / "lesion_effects.csv").read_text("utf-8").splitlines()
    column = rows[0].split(",").index("sets")
    assert {row.split(",")[0]: float(row.split(",")[column]) for row in rows[1:4]} == lesioned
    found = json.loads((artifacts_of(run) / "lesion.json").read_text("utf-8"))
    assert found["sets"] == {"sets": 5, "further_sets": 15, "exceedances": 3}
    assert "not lesioned (lesion.tags=3): " in done.out
    assert "control sets: 5 for all tags, then up to 15 for one tag, until 3 of all" in done.out
    assert "double dissociations: not testable with 5 sets" in done.out


def test_sets_may_come_from_a_file_or_a_run_of_the_same_model(call, tmp_path, place):
    few = [*FEW, "lesion.families=[random]"]
    assert call(*place.small).status == 0
    (first,) = runs_in(tmp_path)
    path = artifacts_of(first) / "key_neurons.json"
    by_file = call(*place.small, "selection=random", "lesion=mean", f"lesion.neurons={path}", *few)
    by_run = call(*place.small, "selection=random", "lesion=mean", f"lesion.neurons={first.info.run_id}", *few)
    own = call(*place.small, "lesion=mean", *few)
    other = call(*place.small, "selection=random", "lesion=mean", *few)
    assert all(done.status == 0 for done in (by_file, by_run, own, other)), by_file.err + by_run.err
    tables = [(f / "lesion_change.csv").read_text("utf-8") for f in output_folders(tmp_path)[1:]]
    assert tables[0] == tables[1] == tables[2]
    assert tables[3] != tables[0]

    refused = {
        "site=residual": "is bound to site mlp, this run has residual",
        "layer=1": "has neurons of layer 2, which this run does not read; use layer=[2]",
        "model.random_weights=0": "is bound to random_weights None, this run has 0",
    }
    for override, told in refused.items():
        ended = call(*place.small, "lesion=mean", f"lesion.neurons={path}", *few, override)
        assert ended.status == 1
        assert told in ended.error
    sets = json.loads(path.read_text("utf-8"))
    tags = sets["tags"]
    changed = {
        "is bound to tag_column xpos, this run has upos": sets | {"tag_column": "xpos"},
        "the key neurons have the tag 'ZZZ'; the treebank has DET,": sets | {"tags": {**tags, "ZZZ": tags["DET"]}},
    }
    for told, content in changed.items():
        path.write_text(json.dumps(content), encoding="utf-8")
        assert told in call(*place.small, "lesion=mean", f"lesion.neurons={path}", *few).error
    path.write_text(json.dumps(sets | {"tags": {**tags, "DET": []}}), encoding="utf-8")
    without = call(*place.small, "lesion=mean", f"lesion.neurons={path}", *few)
    assert "not lesioned (no key neurons): DET" in without.out
    path.write_text("[]", encoding="utf-8")
    assert (
        "key_neurons.json is damaged: not a mapping"
        in call(*place.small, "lesion=mean", f"lesion.neurons={path}").error
    )
    assert "is neither a file nor a run" in call(*place.small, "lesion=mean", "lesion.neurons=nowhere").error


def test_later_layers_and_the_mass_of_a_tag_are_read_under_lesions(call, tmp_path, place):
    more = ["layer=1", "lesion.families=[random]", "lesion.later_layers=[2,3]", "lesion.tag_mass=true"]
    done = call(*place.small, "lesion=zero", *FEW, *more)
    assert done.status == 0, done.err
    assert "probability that a word of the correct tag comes next: " in done.out
    assert "accuracy in layer 3: " in done.out
    (run,) = runs_in(tmp_path)
    rows = (artifacts_of(run) / "lesion_readings.csv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + 3 * 4
    for name in ("tag_mass", "accuracy_in_layer_2", "accuracy_in_layer_3"):
        for tag in ("DET", "NOUN", "PRON", "VERB"):
            for key in (f"lesion/intact/{name}/{tag}", f"lesion/zero/{name}/{tag}", f"lesion/zero/random/{name}/{tag}"):
                assert 0 <= run.data.metrics[key] <= 1
            assert 0 < run.data.metrics[f"lesion/zero/random/{name}_p_value/{tag}"] <= 1


def test_minimal_pairs_are_judged_before_and_after(call, tmp_path, place):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(
        "sentence_good,sentence_bad,phenomenon\nthe dog runs,the dog run,agreement\nshe sees it,she see it,agreement\n"
        "he finds the key,him finds the key,case\n",
        encoding="utf-8",
    )
    done = call(*place.small, "lesion=zero", *FEW, "lesion.families=[lowest]", f"lesion.pairs={pairs}")
    assert done.status == 0, done.err
    assert "minimal pairs judged correctly:" in done.out
    found = json.loads((output_folders(tmp_path)[0] / "lesion_pairs.json").read_text("utf-8"))
    assert [(group["phenomenon"], group["pairs"]) for group in found["groups"]] == [("agreement", 2), ("case", 1)]
    effects = found["every"]["effects"]
    assert set(effects) == {"DET", "NOUN", "PRON", "VERB"}
    assert all(each["lesioned"] * 3 == pytest.approx(round(each["lesioned"] * 3)) for each in effects.values())
    rows = (output_folders(tmp_path)[0] / "lesion_pairs.csv").read_text("utf-8").splitlines()
    assert rows[0] == "language,phenomenon,pairs,tag,intact,lesioned,family,control_mean,control_std,p_value"
    assert len(rows) == 1 + 3 * 4
    (run,) = runs_in(tmp_path)
    assert 0 < run.data.metrics["lesion/pairs/zero/lowest/p_value/NOUN/agreement"] <= 1
    assert "| case | 1 |" in (output_folders(tmp_path)[0] / "summary.md").read_text("utf-8")


def test_texts_are_continued_with_and_without(call, tmp_path, place):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the dog\n\nshe sees\n", encoding="utf-8")
    few = [*FEW, "lesion.families=[lowest]", f"lesion.prompts={prompts}", "lesion.new_tokens=5"]
    done = call(*place.small, "lesion=scale", *few, "lesion.temperature=0.7")
    assert done.status == 0, done.err
    assert "share of the tag in 2 generated texts:" in done.out
    assert "topic drift in 2 generated texts:" in done.out
    metrics = runs_in(tmp_path)[0].data.metrics
    for name in ("share", "known", "bits", "distance", "drift"):
        assert 0 < metrics[f"lesion/scale/lowest/generated_{name}_p_value/NOUN"] <= 1
        assert f"lesion/scale/generated_{name}/NOUN" in metrics
    text = (output_folders(tmp_path)[0] / "generated.md").read_text("utf-8")
    assert [line for line in text.splitlines() if line.startswith("### ")] == ["### the dog", "### she sees"]
    assert text.count("| intact |") == 2
    assert text.count("| control of NOUN |") == 2


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["lesion=zero", "lesion.mode=cut"], ["lesion.mode", "'zero', 'mean'", "'cut'"]),
        (
            ["lesion=zero", "lesion.tags=1"],
            ["lesion.tags", "a number of at least 2, a list of at least 2 tags, or all"],
        ),
        (["lesion=zero", "lesion.tags=[NOUN,ZZZ]"], ["lesion.tags must be one of DET, NOUN, PRON, VERB, got ZZZ"]),
        (["lesion=zero", "lesion.sets=1"], ["lesion.sets", "greater than or equal to 2"]),
        (["lesion=zero", "lesion.shares=[0.5,2]"], ["lesion.shares", "less than or equal to 1"]),
        (["lesion=zero", "lesion.families=[best]"], ["lesion.families", "'best'"]),
        (["lesion=translate"], ["lesion.to names the tag of mode=translate and of no other"]),
        (["lesion=translate", "lesion.to=ADJ"], ["lesion.to must be one of DET, NOUN, PRON, VERB, got ADJ"]),
        (["lesion=zero", "lesion.to=NOUN"], ["lesion.to names the tag of mode=translate and of no other"]),
        (["lesion=zero", "lesion.pairs=nowhere.csv"], ["nowhere.csv"]),
        (["lesion=zero", "lesion.pairs=packaged", "lesion.pair_languages=[nld]"], ["no pairs of the language nld"]),
        (["lesion=zero", "lesion.pair_languages=[nld]"], ["lesion.pair_languages needs lesion.pairs"]),
        (["lesion=zero", "lesion.prompts=nowhere.txt"], ["nowhere.txt"]),
        (["lesion=resample", "lesion.prompts=nowhere.txt"], ["not supported with mode=resample"]),
        (
            ["lesion=zero", "layer=2", "lesion.later_layers=[2]"],
            ["lesion.later_layers must lie above layer 2", "got 2"],
        ),
        (["lesion=zero", "lesion.later_layers=[99]"], ["lesion.later_layers", "got 99"]),
        (["lesion=zero", "activations.store=moments"], ["activations.store"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_lesions_that_cannot_be_made_are_told_in_one_line(call, place, overrides, told):
    ended = call(*place.small, *overrides)
    assert ended.status == 1
    assert all(piece in ended.error for piece in told), ended.error


def test_a_translation_to_no_tag_is_told_before_anything_is_read(call, place, monkeypatch):
    monkeypatch.setattr(experiment, "read_activations", None)
    ended = call(*place.small, "lesion=translate", "lesion.to=ZZZ")
    assert ended.error.endswith("lesion.to must be one of DET, NOUN, PRON, VERB, got ZZZ")


def test_a_sweep_checks_the_head_for_those_of_its_jobs_that_need_it(place, tmp_path):
    folder = shutil.copytree(place.llama, tmp_path / "llama")
    whole = load_file(folder / "model.safetensors")
    del whole["lm_head.weight"]
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    base = [*place.small, f"model.folder={folder}", f"cache={tmp_path / 'cache'}"]
    plain, lesioned = (checked([*base, *more]) for more in ([], ["lesion=mean"]))
    assert len(check_jobs([plain, plain])) == 2
    with pytest.raises(ValueError, match=r"missing: lm_head.weight"):
        check_jobs([plain, lesioned])
