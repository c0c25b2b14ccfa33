"""``keyneurons compare RUN RUN``: run ids, folders and files; output files; refusals."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from reading_pages import Page
from scipy.stats import hypergeom
from user import QUICK, Command, Place, output_folders, runs_in

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Kept:
    """The folders and ids of runs by correlation and at random, and the override of their store."""

    folders: dict[str, Path]
    ids: dict[str, str]
    store: str


@pytest.fixture(scope="module")
def kept(command: Command, place: Place, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    here = tmp_path_factory.mktemp("pair")
    ended = command(here, "-m", *place.small, *QUICK, "selection=correlation,random", "layer=2,[2,3]", "top_k=8")
    assert ended.status == 0, ended.err
    ids = {run.info.run_name: run.info.run_id for run in runs_in(here)}
    folders = {json.loads((f / "run.json").read_text("utf-8"))["name"]: f for f in output_folders(here)}
    folders |= {json.loads(p.read_text("utf-8"))["name"]: p.parent for p in here.glob("outputs/*/*/*/run.json")}
    return Kept(folders, ids, f"tracking.uri=sqlite:///{here}/mlruns/mlflow.db")


def written() -> Path:
    return sorted(Path("outputs").glob("*/*-compare"))[-1]


def neurons(folder: Path) -> dict[str, list[tuple[int, int]]]:
    tags = json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"]
    return {tag: [(n["layer"], n["neuron"]) for n in own] for tag, own in tags.items()}


A, B, WIDE = "mlp.2 k8 correlation", "mlp.2 k8 random", "mlp.2-3 k8 correlation"


def test_two_runs_are_compared_by_id_folder_or_file(call: Command, kept: Kept) -> None:
    first, second = neurons(kept.folders[A]), neurons(kept.folders[B])
    ended = call("compare", kept.ids[A], kept.ids[B], kept.store)
    assert ended.status == 0, ended.err
    found = json.loads((written() / "compare.json").read_text("utf-8"))
    width = json.loads((kept.folders[A] / "key_neurons.json").read_text("utf-8"))["neurons_per_layer"]
    for tag in first:
        a, b = set(first[tag]), set(second[tag])
        own = found["tags"][tag]
        assert (own["size_a"], own["size_b"], own["shared"]) == (8, 8, len(a & b))
        assert own["jaccard"] == pytest.approx(len(a & b) / len(a | b))
        assert own["p_value"] == pytest.approx(hypergeom.sf(len(a & b) - 1, width, 8, 8))
        for where, expected in {"both": a & b, "a": a - b, "b": b - a}.items():
            assert {(n["layer"], n["neuron"]) for n in own["neurons"] if n["in"] == where} == expected
        assert [
            (n["layer"], n["neuron"]) for n in sorted(own["neurons"], key=lambda n: n["rank_a"] or 99)[:8]
        ] == first[tag]
        assert own["same_sign"] is None  # random scores are positive
    union = set().union(*first.values()), set().union(*second.values())
    assert {tuple(each) for each in found["union"]["only_a"]} == union[0] - union[1]
    assert found["union"]["shared"] == len(union[0] & union[1])
    metrics = [json.loads((kept.folders[name] / "metrics.json").read_text("utf-8")) for name in (A, B)]
    accuracy = found["metrics"]["probe/test_accuracy"]
    assert (accuracy["a"], accuracy["b"]) == tuple(m["probe/test_accuracy"] for m in metrics)
    assert accuracy["difference"] == accuracy["b"] - accuracy["a"]
    assert "control/random/test_accuracy" in found["metrics"]
    assert found["settings"] == {"choice.selection": {"a": "correlation", "b": "random"}}
    assert "control/random/test_accuracy" in ended.out

    by_folder = call("compare", str(kept.folders[A]), str(kept.folders[B]))
    assert by_folder.status == 0, by_folder.err
    again = json.loads((written() / "compare.json").read_text("utf-8"))
    assert {**again, "a": 0, "b": 0} == {**found, "a": 0, "b": 0}

    by_file = call("compare", str(kept.folders[A] / "key_neurons.json"), kept.ids[B], kept.store)
    assert by_file.status == 0, by_file.err
    bare = json.loads((written() / "compare.json").read_text("utf-8"))
    assert bare["tags"] == found["tags"]
    assert (bare["metrics"], bare["settings"]) == ({}, {})


def test_its_tables_and_its_page(call: Command, kept: Kept) -> None:
    ended = call("compare", str(kept.folders[A]), str(kept.folders[B]))
    assert f"Open {written() / 'report.html'} in a browser" in ended.out
    with (written() / "tags.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["tag"] for row in rows] == ["DET", "NOUN", "PRON", "VERB", "union of the tags"]
    with (written() / "neurons.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == sum(16 - int(row["shared"]) for row in rows[:4])
    page = Page((written() / "report.html").read_text("utf-8"))
    assert "Two runs compared" in page.told
    assert "only A" in page.told
    assert "Settings that differ" in page.told
    assert not any(tag in {"img", "link"} or "src" in given for tag, given in page.elements)


def test_only_common_layers_are_compared_and_said_to_be(call: Command, kept: Kept) -> None:
    ended = call("compare", str(kept.folders[A]), str(kept.folders[WIDE]))
    assert ended.status == 0, ended.err
    assert "Only B reads layer 3: not compared." in ended.out
    found = json.loads((written() / "compare.json").read_text("utf-8"))
    assert found["layers"] == [2]
    assert all(own["jaccard"] == 1 for own in found["tags"].values())  # scope=layer: the same set of layer 2
    assert [own["same_sign"] for own in found["tags"].values()] == [8] * 4


def test_mistakes_are_told_in_a_line(call: Command, kept: Kept, tmp_path: Path) -> None:
    a, b = str(kept.folders[A]), str(kept.folders[B])
    plain = json.loads((kept.folders[A] / "key_neurons.json").read_text("utf-8"))
    changed = {
        "site": ({"site": "mlp_gate"}, "neurons of different site are not comparable: A has mlp, B has mlp_gate"),
        "model": ({"model": {**plain["model"], "revision": "x"}}, "neurons of different revision are not comparable"),
        "tags": ({"tags": {"X": []}}, "the runs have no tag in common: DET, NOUN, PRON, VERB against X"),
        "layers": ({"layers": [5], "tags": {"DET": []}}, "the runs have no layer in common: 2 against 5"),
    }
    for name, (change, message) in changed.items():
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**plain, **change}), "utf-8")
        assert message in call("compare", a, str(path)).error
    forms = "compare takes RUN RUN (run ids, folders or key_neurons.json files) or one of sweep=ID"
    assert f"{forms}, experiment=NAME and filter=..., got 1 run" in call("compare", a).error
    assert "got 3 runs" in call("compare", a, b, a).error
    assert "compare RUN RUN takes only tracking.uri=, got share=0.5" in call("compare", a, b, "share=0.5").error
    assert "got sweep=x" in call("compare", a, b, "sweep=x").error
    assert "'nowhere' is neither a file, a folder nor a run: " in call("compare", a, "nowhere", kept.store).error
    assert "contains no key_neurons.json" in call("compare", a, str(tmp_path)).error
    assert not Path("outputs").exists()


def test_its_help_names_the_forms(call: Command) -> None:
    ended = call("compare", "--help")
    assert "keyneurons compare [-h] (RUN RUN | sweep=ID | experiment=NAME | filter=...)" in ended.out
