"""``keyneurons compare RUN RUN [RUN ...]``: run ids, folders and files; output files; refusals."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from reading_pages import Page
from scipy.stats import hypergeom
from user import QUICK, Command, Place, output_folders, runs_in

from keyneurons.artifacts.overlap import read_overlap_counts
from keyneurons.artifacts.predictions import read_predictions, write_predictions

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


def result() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((written() / "compare.json").read_text("utf-8"))
    return found


def rows_of(name: str) -> list[dict[str, str]]:
    with (written() / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def neurons(folder: Path) -> dict[str, list[tuple[int, int]]]:
    tags = json.loads((folder / "key_neurons.json").read_text("utf-8"))["tags"]
    return {tag: [(n["layer"], n["neuron"]) for n in own] for tag, own in tags.items()}


A, B, WIDE = "mlp.2 k8 correlation", "mlp.2 k8 random", "mlp.2-3 k8 correlation"


def test_two_runs_are_compared_by_id_folder_or_file(call: Command, kept: Kept) -> None:
    first, second = neurons(kept.folders[A]), neurons(kept.folders[B])
    ended = call("compare", kept.ids[A], kept.ids[B], kept.store)
    assert ended.status == 0, ended.err
    found = result()
    width = json.loads((kept.folders[A] / "key_neurons.json").read_text("utf-8"))["neurons_per_layer"]
    for tag in first:
        a, b = set(first[tag]), set(second[tag])
        own = found["sets"]["tags"][tag]
        assert own["sizes"] == {"A": 8, "B": 8}
        shared = own["shared"]["A B"]
        assert shared["count"] == len(a & b)
        assert shared["jaccard"] == pytest.approx(len(a & b) / len(a | b))
        assert shared["p_value"] == pytest.approx(hypergeom.sf(len(a & b) - 1, width, 8, 8))
        for where, expected in {"AB": a & b, "A": a - b, "B": b - a}.items():
            assert {(n["layer"], n["neuron"]) for n in own["neurons"] if n["runs"] == list(where)} == expected
        by_rank = sorted(own["neurons"], key=lambda n: n["ranks"].get("A", 99))
        assert [(n["layer"], n["neuron"]) for n in by_rank[:8]] == first[tag]
        assert own["same_sign"] is None  # random scores are positive
    union = set().union(*first.values()), set().union(*second.values())
    assert {tuple(each) for each in found["sets"]["union"]["neurons"]["A"]} == union[0] - union[1]
    assert found["sets"]["union"]["shared"]["A B"]["count"] == len(union[0] & union[1])
    for name, run in (("A", A), ("B", B)):
        _, counts = read_overlap_counts(kept.folders[run])
        assert found["overlap"]["runs"][name]["count"] == counts.tolist()
    metrics = [json.loads((kept.folders[name] / "metrics.json").read_text("utf-8")) for name in (A, B)]
    accuracies = [m["probe/test_accuracy"] for m in metrics]
    assert list(found["metrics"]["probe/test_accuracy"].values()) == accuracies
    assert found["settings"] == {"choice.selection": {"A": "correlation", "B": "random"}}
    assert "control/random/test_accuracy" in ended.out

    differences = found["differences"]["A B"]
    assert (differences["paired"], differences["same_words"]) == (True, True)
    accuracy = differences["accuracy"]
    assert [accuracy["first"], accuracy["second"]] == pytest.approx(accuracies)
    assert accuracy["low"] <= accuracy["difference"] <= accuracy["high"]
    for tag, own in differences["f1"].items():
        assert [own["first"], own["second"]] == pytest.approx([m[f"probe/test_f1/{tag}"] for m in metrics])

    by_folder = call("compare", str(kept.folders[A]), str(kept.folders[B]))
    assert by_folder.status == 0, by_folder.err
    assert {**result(), "runs": 0} == {**found, "runs": 0}

    by_file = call("compare", str(kept.folders[A] / "key_neurons.json"), kept.ids[B], kept.store)
    assert by_file.status == 0, by_file.err
    bare = result()
    assert bare["sets"] == found["sets"]
    assert (bare["metrics"], bare["settings"], bare["differences"]) == ({}, {}, {})


def test_three_runs(call: Command, kept: Kept) -> None:
    names = A, B, WIDE
    ended = call("compare", *(kept.ids[name] for name in names), kept.store)
    assert ended.status == 0, ended.err
    found = result()
    sets = [{tag: {n for n in own if n[0] == 2} for tag, own in neurons(kept.folders[name]).items()} for name in names]
    for tag, own in found["sets"]["tags"].items():
        a, b, c = (each[tag] for each in sets)
        assert own["only"] == {"A": len(a - b - c), "B": len(b - a - c), "C": len(c - a - b)}
        counts = {name: shared["count"] for name, shared in own["shared"].items()}
        assert counts == {"A B": len(a & b), "A C": len(a & c), "B C": len(b & c), "A B C": len(a & b & c)}
    assert set(found["differences"]) == {"A B", "A C", "B C"}
    assert "mean Jaccard" in ended.out
    assert len(rows_of("overlap.csv")) == 3 * 6
    assert len(rows_of("overlap_differences.csv")) == 3 * 6
    jaccard = [{tuple(n) for n in sets[0][tag]} for tag in ("DET", "NOUN")]
    first = rows_of("overlap.csv")[0]
    assert (first["run"], first["tag_a"], first["tag_b"]) == ("A", "DET", "NOUN")
    assert float(first["jaccard"]) == pytest.approx(len(jaccard[0] & jaccard[1]) / len(jaccard[0] | jaccard[1]))


def test_its_tables_and_its_page(call: Command, kept: Kept) -> None:
    ended = call("compare", str(kept.folders[A]), str(kept.folders[B]))
    assert f"Open {written() / 'report.html'} in a browser" in ended.out
    rows = rows_of("tags.csv")
    assert [row["tag"] for row in rows] == ["DET", "NOUN", "PRON", "VERB", "union of the tags"]
    assert len(rows_of("neurons.csv")) == sum(16 - int(row["count"]) for row in rows[:4])
    assert [row["metric"] for row in rows_of("differences.csv")] == ["accuracy", *(f"f1/{r['tag']}" for r in rows[:4])]
    page = Page((written() / "report.html").read_text("utf-8"))
    for text in ("2 runs side by side", "Settings that differ", "Which run predicts the tags better?"):
        assert text in page.told
    [image] = [given for tag, given in page.elements if tag == "img"]
    assert image["src"].startswith("data:image/png;base64,")
    assert not any(tag == "link" for tag, _ in page.elements)


def test_only_common_layers_are_compared_and_said_to_be(call: Command, kept: Kept) -> None:
    ended = call("compare", str(kept.folders[A]), str(kept.folders[WIDE]))
    assert ended.status == 0, ended.err
    assert "Layer 3 of B is not read by all runs: not compared." in ended.out
    found = result()["sets"]
    assert found["layers"] == [2]
    # scope=layer: the same set of layer 2
    assert all(own["shared"]["A B"]["jaccard"] == 1 for own in found["tags"].values())
    assert [own["same_sign"] for own in found["tags"].values()] == [8] * 4


NOT_COMPARABLE = {
    "site": ({"site": "mlp_gate"}, "neurons of different site are not comparable (A has mlp, B has mlp_gate)"),
    "model": ({"model": {"architecture": "x"}}, "neurons of different architecture are not comparable"),
    "tags": ({"tags": {"X": []}}, "the runs have no tag in common: DET, NOUN, PRON, VERB against X"),
    "layers": ({"layers": [5], "tags": {"DET": []}}, "the runs have no layer in common: 2 against 5"),
}


@pytest.mark.parametrize("name", NOT_COMPARABLE)
def test_accuracies_are_compared_although_the_sets_are_not(
    call: Command, kept: Kept, tmp_path: Path, name: str
) -> None:
    change, message = NOT_COMPARABLE[name]
    shutil.copytree(kept.folders[B], tmp_path / "other")
    path = tmp_path / "other" / "key_neurons.json"
    plain = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**plain, **change, "model": {**plain["model"], **change.get("model", {})}}), "utf-8")
    ended = call("compare", str(kept.folders[A]), str(tmp_path / "other"))
    assert ended.status == 0, ended.err
    assert f"The sets are not compared: {message}" in ended.out
    found = result()
    assert found["sets"] is None
    assert "accuracy" in found["differences"]["A B"]
    assert not (written() / "tags.csv").exists()
    assert "The sets are not compared" in Page((written() / "report.html").read_text("utf-8")).told


def test_runs_without_predictions_have_differences_without_intervals(call: Command, kept: Kept, tmp_path: Path) -> None:
    shutil.copytree(kept.folders[B], tmp_path / "other")
    (tmp_path / "other" / "predictions.safetensors").unlink()
    ended = call("compare", str(kept.folders[A]), str(tmp_path / "other"))
    assert ended.status == 0, ended.err
    assert "No predictions of B are stored: differences of accuracy and F1 have no interval." in ended.out
    assert result()["differences"] == {}
    assert "F1 of" in ended.out
    (tmp_path / "other" / "predictions.safetensors").write_bytes(b"no")
    assert (
        "is damaged or from another version" in call("compare", kept.ids[A], str(tmp_path / "other"), kept.store).error
    )


def test_runs_on_other_sentences_are_not_paired(call: Command, kept: Kept, tmp_path: Path) -> None:
    shutil.copytree(kept.folders[B], tmp_path / "other")
    path = tmp_path / "other" / "predictions.safetensors"
    write_predictions(path, replace(read_predictions(path), text="other"))
    ended = call("compare", str(kept.folders[A]), str(tmp_path / "other"))
    assert "Tested on different sentences, so that differences are not paired: A B." in ended.out
    assert result()["differences"]["A B"]["paired"] is False


def test_mistakes_are_told_in_a_line(call: Command, kept: Kept, tmp_path: Path) -> None:
    a, b = str(kept.folders[A]), str(kept.folders[B])
    forms = "compare takes RUN RUN [RUN ...] (run ids, folders or key_neurons.json files) or one of sweep=ID"
    assert f"{forms}, experiment=NAME and filter=..., got 1 run" in call("compare", a).error
    assert f"{a} and {a} are the same run; compare takes different runs" in call("compare", a, b, a).error
    assert f"{a} and {a}/key_neurons.json are the same run" in call("compare", a, f"{a}/key_neurons.json").error
    assert f"{a} and {kept.ids[A]} are the same run" in call("compare", a, kept.ids[A], kept.store).error
    assert (
        "compare RUN RUN [RUN ...] takes only tracking.uri= and report.*, got share"
        in call("compare", a, b, "share=0.5").error
    )
    assert "got sweep=x" in call("compare", a, b, "sweep=x").error
    assert "'nowhere' is neither a file, a folder nor a run: " in call("compare", a, "nowhere", kept.store).error
    assert "contains no key_neurons.json" in call("compare", a, str(tmp_path)).error
    path = tmp_path / "old.json"
    path.write_text(json.dumps({**json.loads((kept.folders[A] / "key_neurons.json").read_text()), "format": 7}))
    assert "format 7 is not supported, only 1" in call("compare", a, str(path)).error
    assert "up to 26 runs, got 27" in call("compare", *[a] * 27).error
    [parent] = [run for name, run in kept.ids.items() if name.startswith("sweep of")]
    assert "has no key_neurons.json" in call("compare", a, parent, kept.store).error
    assert not Path("outputs").exists()


def test_a_store_of_another_version_is_told_in_a_line(call: Command, kept: Kept, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    shutil.copy(kept.store.removeprefix("tracking.uri=sqlite:///"), database)
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("UPDATE alembic_version SET version_num = '1b5f0d9ad7c1'")
        opened.commit()
    error = call("compare", kept.ids[A], kept.ids[B], f"tracking.uri=sqlite:///{database}").error
    assert error.startswith(f"keyneurons: error: MLflow at sqlite:///{database}: Detected out-of-date database schema")


def test_its_help_names_the_forms(call: Command) -> None:
    ended = call("compare", "--help")
    assert "keyneurons compare [-h] (RUN RUN [RUN ...] | sweep=ID | experiment=NAME | filter=...)" in ended.out
