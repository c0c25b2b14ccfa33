"""Runs with ``selection=from_file``: equal results, other texts, lesions, provenance, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from user import QUICK, Command, Place, artifacts_of, output_folders, runs_in

from keyneurons.config.compose import checked
from keyneurons.sweeps.jobs import check_jobs

GIVEN = "selection=from_file"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first(command: Command, place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that selected its key neurons."""
    here = tmp_path_factory.mktemp("first")
    assert command(here, *place.small, *QUICK).status == 0
    [folder] = output_folders(here)
    return folder


def store_of(folder: Path) -> tuple[str, str]:
    """The run's id and the override of its store."""
    here = folder.parents[2]
    [run] = runs_in(here)
    return run.info.run_id, f"tracking.uri=sqlite:///{here}/mlruns/mlflow.db"


def last(folder: Path) -> Path:
    return output_folders(folder)[-1]


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text("utf-8"))


def without_reselection(metrics: dict) -> dict:
    """The metrics of a run without the control that selects again, which given sets cannot."""
    again = ("control/reselected_task/", "probe/specificity", "verdict/grammar")
    return {name: value for name, value in metrics.items() if not name.startswith(again)}


@pytest.mark.long
def test_the_console_script_finds_what_the_run_of_the_file_found(command: Command, place: Place, tmp_path: Path):
    own = [*place.small, "reliability.halves=0"]
    assert command(tmp_path, *own).status == 0
    [folder] = output_folders(tmp_path)
    [run] = runs_in(tmp_path)
    for path in (folder, run.info.run_id):
        done = command(tmp_path, *own, GIVEN, f"selection.path={path}")
        assert done.status == 0, done.err
        assert "the sets were selected by correlation on" in done.out
        assert read(last(tmp_path), "metrics.json") == without_reselection(read(folder, "metrics.json"))


def test_stability_is_not_measured_and_nothing_has_scores(call: Command, place: Place, tmp_path: Path, first: Path):
    more = ["reliability.halves=2", "reliability.bootstraps=2", "reliability.confounds=true"]
    done = call(*place.small, *QUICK, GIVEN, f"selection.path={first}", *more)
    assert done.status == 0, done.err
    assert "stability is not measured" in done.out
    folder = last(tmp_path)
    assert not [name for name in read(folder, "metrics.json") if name.startswith("stability/")]
    assert not (folder / "scores.safetensors").exists()
    assert read(folder, "metrics.json")["confounds/vanishing"] >= 0


def test_provenance_is_complete(call: Command, place: Place, tmp_path: Path, first: Path):
    assert call(*place.small, *QUICK, GIVEN, f"selection.path={first}").status == 0
    file, tags = read(last(tmp_path), "key_neurons.json"), read(last(tmp_path), "run.json")["tags"]
    source = read(first, "key_neurons.json")
    assert (file["method"], file["source"]["method"]) == ("from_file", "correlation")
    assert file["source"]["dataset"] == source["dataset"]["id"]
    assert tags["selection"] == "from_file"
    assert tags["source_method"] == "correlation"
    assert tags["source_neuron_sets"] == read(first, "run.json")["tags"]["neuron_sets"]
    assert tags["source_digest"] == file["source"]["digest"]
    sets = {name: [(n["layer"], n["neuron"], n["score"]) for n in own] for name, own in file["tags"].items()}
    assert sets == {name: [(n["layer"], n["neuron"], n["score"]) for n in own] for name, own in source["tags"].items()}
    again = call(*place.small, *QUICK, GIVEN, f"selection.path={last(tmp_path)}")
    assert again.status == 0, again.err
    assert f"selected by correlation on {source['dataset']['id']} (" in again.out


def test_the_fingerprint_is_that_of_the_content(place: Place, tmp_path: Path, first: Path):
    run, store = store_of(first)
    copy = tmp_path / "copy.json"
    copy.write_bytes((first / "key_neurons.json").read_bytes())

    def fingerprint(path: object) -> str:
        overrides = [*place.small, f"cache={place.cache}", store, GIVEN, f"selection.path='{path}'"]
        return check_jobs([checked(overrides)])[0].fingerprint

    prints = [fingerprint(path) for path in (first, first / "key_neurons.json", copy, run)]
    assert len(set(prints)) == 1
    sets = json.loads(copy.read_text("utf-8"))
    sets["tags"]["NOUN"].pop()
    copy.write_text(json.dumps(sets), "utf-8")
    assert fingerprint(copy) != prints[0]


def test_another_text_drops_and_lacks_tags(call: Command, place: Place, tmp_path: Path, first: Path):
    few = call(*place.small, *QUICK, GIVEN, f"selection.path={first}", "dataset.tags=[DET,NOUN]")
    assert few.status == 0, few.err
    assert "given sets not used (tags absent or excluded in this text): PRON, VERB" in few.out
    assert list(read(last(tmp_path), "key_neurons.json")["tags"]) == ["DET", "NOUN"]
    more = call(*place.small, *QUICK, GIVEN, f"selection.path={last(tmp_path)}")
    assert more.status == 0, more.err
    assert "tags without a given set: PRON, VERB" in more.out
    assert read(last(tmp_path), "key_neurons.json")["tags"]["VERB"] == []
    text = place.treebank.read_text("utf-8")
    other = tmp_path / "xpos.conllu"
    other.write_text(text.replace("\tDET\t_", "\tDET\tDT").replace("\tNOUN\t_", "\tNOUN\tNOUN"), "utf-8")
    column = [f"dataset.file={other}", "dataset.tag_column=xpos"]
    xpos = call(*place.small, *QUICK, GIVEN, f"selection.path={first}", *column)
    assert xpos.status == 0, xpos.err
    assert "(tags from upos), not in this run" in xpos.out
    assert "absent or excluded in this text): DET, PRON, VERB" in xpos.out
    assert "tags without a given set: DT" in xpos.out


def test_top_k_cuts_the_sets(call: Command, place: Place, tmp_path: Path, first: Path):
    one = call(*place.small, *QUICK, GIVEN, f"selection.path={first}", "top_k=1")
    assert one.status == 0, one.err
    assert "given sets cut to their strongest top_k=1 neurons per layer: DET, NOUN, PRON, VERB" in one.out
    sets, source = read(last(tmp_path), "key_neurons.json")["tags"], read(first, "key_neurons.json")["tags"]
    assert {tag: [n["neuron"] for n in own] for tag, own in sets.items()} == {
        tag: [own[0]["neuron"]] for tag, own in source.items()
    }
    many = call(*place.small, *QUICK, GIVEN, f"selection.path={first}", "top_k=30")
    assert many.status == 0, many.err
    assert "3 of 30" in many.out


def test_lesions_of_given_sets_are_those_of_the_run(call: Command, place: Place, tmp_path: Path, first: Path):
    few = ["lesion=mean", "lesion.sets=3", "lesion.further_sets=0", "lesion.sentences=9", "lesion.bootstraps=20"]
    few += QUICK
    ways = [[], [GIVEN, f"selection.path={first}"], ["selection=random", f"lesion.neurons={first}"]]
    for way in ways:
        done = call(*place.small, *few, *way)
        assert done.status == 0, done.err
    tables = {(folder / "lesion_change.csv").read_text("utf-8") for folder in output_folders(tmp_path)}
    assert len(output_folders(tmp_path)) == 3
    assert len(tables) == 1


def test_unseen_words_and_single_layers_use_the_given_sets(call: Command, place: Place, tmp_path: Path, first: Path):
    more = ["split=unseen_words", "layer_by_layer.read_at=[word]"]
    done = call(*place.small, *QUICK, GIVEN, f"selection.path={first}", *more)
    assert done.status == 0, done.err
    assert "the given sets may have been selected on words of the held-out types" in done.out
    metrics = read(last(tmp_path), "metrics.json")
    assert metrics["selection/union_size"] == read(first, "metrics.json")["selection/union_size"]
    assert "unseen_words/probe/test_accuracy" in metrics


def test_streamed_activations_need_no_scorer(call: Command, place: Place, tmp_path: Path, first: Path):
    done = call(
        *place.small, *QUICK, GIVEN, f"selection.path={first}", "activations.store=moments", "control=[random,majority]"
    )
    assert done.status == 0, done.err
    streamed, kept = read(last(tmp_path), "metrics.json"), read(first, "metrics.json")
    assert streamed["probe/test_accuracy"] == pytest.approx(kept["probe/test_accuracy"], abs=0.02)


def test_a_consensus_is_probed(call: Command, place: Place, tmp_path: Path):
    sweep = call("-m", *place.small, *QUICK, "selection=correlation,mean_difference")
    assert sweep.status == 0, sweep.err
    [path] = tmp_path.glob("outputs/*/*-sweep/comparison/consensus/key_neurons.json")
    done = call(*place.small, *QUICK, GIVEN, f"selection.path={path}")
    assert done.status == 0, done.err
    assert "selected by consensus" in done.out


def test_a_sweep_over_files_and_its_plan(call: Command, place: Place, tmp_path: Path, first: Path):
    own = [*place.small, *QUICK, GIVEN, f"selection.path={first}"]
    plan = call("plan", *own)
    assert plan.status == 0, plan.err
    assert "memory for scoring" not in plan.out
    assert "has key neurons of layer=2" in call("plan", *own, "layer=1").error
    sweep = call("-m", *own, "top_k=1,2")
    assert sweep.status == 0, sweep.err
    *_, job = sorted(tmp_path.glob("outputs/*/*/*/key_neurons.json"))
    inspected = call("inspect", str(job.parent), "--tag", "NOUN")
    assert inspected.status == 0, inspected.err


def test_a_run_with_given_sets_is_sent_later(call: Command, place: Place, tmp_path: Path, first: Path):
    unreachable = "tracking.uri=http://127.0.0.1:9"
    done = call(*place.small, *QUICK, GIVEN, f"selection.path={first}", unreachable)
    assert done.status == 0, done.err
    sent = call("log", str(last(tmp_path)))
    assert sent.status == 0, sent.err
    run = runs_in(tmp_path)[-1]
    assert run.data.tags["source_method"] == "correlation"
    assert (artifacts_of(run) / "key_neurons.json").is_file()


REFUSED = {
    "threshold.kind=fdr": "selection=from_file takes the sets as they are, cut to top_k; it needs threshold.kind=none",
    "sign=positive": "it needs sign=both",
    "mass=0.5": "it needs mass=null",
    "lesion=zero lesion.families=[random,lowest]": "lesion.families: lowest needs the scores of all neurons, which "
    "selection=from_file lacks; use lesion.families=[random]",
    "site=residual": "is bound to site mlp, this run has residual",
    "model.random_weights=0": "is bound to random_weights None, this run has 0",
    "layer=1": "has key neurons of layer=2, this run reads layer=1; add layer=2",
    "layer=[1,2]": "has key neurons of layer=2, this run reads layer=[1,2]; add layer=2",
    "selection.path=nowhere": "'nowhere' is neither a file nor a run",
    "selection.path=figures": "figures contains no key_neurons.json",
    "selection.path=''": "path must be a key_neurons.json, a run's folder or a run id, got ''",
}


def test_what_does_not_fit_is_refused_in_a_line(call: Command, place: Place, tmp_path: Path, first: Path):
    (tmp_path / "figures").mkdir()
    for override, message in REFUSED.items():
        ended = call(*place.small, *QUICK, GIVEN, f"selection.path={first}", *override.split())
        assert ended.status == 1, override
        assert message in ended.error
    assert "selection.path has no default; set it" in call(*place.small, GIVEN).error
    assert not list(tmp_path.glob("outputs/*/*/key_neurons.json"))
    folder = tmp_path / "options" / "selection"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(f"defaults: [from_file]\npath: {first}\n", "utf-8")
    ended = call("agreement", "--config-dir", str(folder.parent), "selection=[correlation,mine]", *place.small)
    assert "agreement compares methods that score neurons, got mine; compare given sets with: " in ended.error
