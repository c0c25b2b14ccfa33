"""The command ``agreement``, which compares methods on the same activations."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from user import Command, Place, artifacts_of, output_folders, runs_in

from keyneurons.config.paths import conf_folder

pytestmark = pytest.mark.figures

METHODS = ["correlation", "f_test", "random", "mutual_information"]


def matrix(path: Path) -> list[list[float]]:
    with path.open(encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["method", *METHODS]
    return [[float(value) for value in row[1:]] for row in rows]


def test_methods_are_compared_in_one_run(call: Command, place: Place) -> None:
    ended = call("agreement", f"selection=[{','.join(METHODS)}]", *place.small)
    assert ended.status == 0, ended.err
    assert ended.err == ""
    head, columns, first, *rest = ended.out.splitlines()
    assert head == "llama, mlp, layer 2: 4 methods, 3 key neurons per tag on conllu"
    assert columns.split() == ["method", "method", "Jaccard", "by", "chance", "RBO", "Kendall's", "tau"]
    assert first.split()[:3] == ["correlation", "f_test", "1.000"]  # for two groups, F is a function of r squared
    assert len([line for line in rest if line.split()[:1] and line.split()[0] in METHODS]) == 5
    [folder] = output_folders(Path.cwd())
    jaccard = matrix(folder / "agreement_jaccard.csv")
    assert jaccard[0][1] == pytest.approx(1)
    assert jaccard[0][2] < 0.5
    assert matrix(folder / "agreement_kendall_tau.csv")[0][1] == pytest.approx(1)
    sets = {name: json.loads((folder / "key_neurons" / f"{name}.json").read_text("utf-8")) for name in METHODS}
    assert [found["method"] for found in sets.values()] == METHODS
    of_tag = {
        tag: [{n["neuron"] for n in sets[name]["tags"][tag]} for name in ("correlation", "mutual_information")]
        for tag in sets["random"]["tags"]
    }
    by_hand = [len(a & b) / len(a | b) for a, b in of_tag.values()]
    assert jaccard[0][3] == pytest.approx(sum(by_hand) / 4)
    [run] = runs_in(Path.cwd())
    assert run.info.status == "FINISHED"
    assert run.data.metrics["agreement/jaccard/correlation/f_test"] == pytest.approx(1)
    assert run.data.params["selection.mutual_information.bins"] == "16"
    assert run.data.tags["selection"] == ",".join(METHODS)
    assert "| correlation | f_test | 1.000 |" in run.data.tags["mlflow.note.content"]
    assert (artifacts_of(run) / "figures" / "agreement.png").read_bytes()[:4] == b"\x89PNG"


def test_it_finds_what_a_run_finds(call: Command, place: Place) -> None:
    assert call("agreement", "selection=[welch_t,l1_probe]", *place.small).status == 0
    assert call(*place.small, "selection=welch_t").status == 0
    compared, alone = sorted(output_folders(Path.cwd()), key=lambda folder: (folder / "key_neurons.json").is_file())
    found = [
        json.loads(path.read_text("utf-8"))["tags"]
        for path in (compared / "key_neurons" / "welch_t.json", alone / "key_neurons.json")
    ]
    assert [[n["neuron"] for n in neurons] for neurons in found[0].values()] == [
        [n["neuron"] for n in neurons] for neurons in found[1].values()
    ]


def test_every_method_there_is(call: Command, place: Place) -> None:
    every = sorted(path.stem for path in (conf_folder() / "selection").glob("*.yaml") if path.stem != "from_file")
    ended = call("agreement", f"selection=[{','.join(every)}]", *place.small, "site=mlp_gate")
    assert ended.status == 0, ended.err
    assert f"layer 2: {len(every)} methods" in ended.out
    [run] = runs_in(Path.cwd())
    assert run.data.metrics["agreement/jaccard/bottom/correlation"] < 0.5
    assert run.data.metrics["agreement/jaccard/f_test/mean_difference"] == pytest.approx(1)
