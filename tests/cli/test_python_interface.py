"""The Python interface: same configuration, result and store as on the command line."""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path
from unittest import mock

import pytest
from user import Command, Place, results_of, runs_in

import keyneurons


@pytest.fixture
def here(tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with mock.patch.dict(os.environ, environment, clear=True):
        yield tmp_path


def test_a_run_from_python_is_the_run_of_the_command_line(here: Path, call: Command, place: Place) -> None:
    found = keyneurons.run(*place.small, "selection=mean_difference")
    assert call(*place.small, "selection=mean_difference").status == 0
    mine, theirs = runs_in(here)
    assert found.id == mine.info.run_id
    assert (mine.info.status, mine.info.run_name) == ("FINISHED", theirs.info.run_name)
    assert results_of(mine) == results_of(theirs)
    assert found.metrics == {k: pytest.approx(v) for k, v in results_of(mine).items()}
    assert mine.data.params == theirs.data.params
    kept = json.loads((found.folder / "key_neurons.json").read_text("utf-8"))
    table = found.key_neurons()
    for tag, own in kept["tags"].items():
        rows = table[table.tag == tag]
        assert rows.neuron.tolist() == [n["neuron"] for n in own]
        assert rows.score.tolist() == [n["score"] for n in own]
        assert rows["rank"].tolist() == list(range(1, len(own) + 1))
    assert found.overlap().loc["NOUN", "NOUN"] == 3
    again = keyneurons.load_run(mine.info.run_id)
    assert again.metrics.items() >= results_of(mine).items()
    both = keyneurons.runs_table(keyneurons.find_runs(filter="params.top_k = '3'"))
    assert both["run"].tolist() == [mine.info.run_id, theirs.info.run_id]
    assert both["probe/test_accuracy"].nunique() == 1


def test_mistakes_are_errors_of_one_line(here: Path, place: Place) -> None:
    with pytest.raises(keyneurons.UsageError, match=r"^top_k: should be greater than 0, got -5$"):
        keyneurons.run(*place.small, "top_k=-5")
    with pytest.raises(ValueError, match="^there are no runs: "):
        keyneurons.load_run("nowhere")
    with pytest.raises(ValueError, match="^layer must lie in"):
        keyneurons.run(*place.small, "layer=99")
    assert not list(here.glob("outputs/*/*/run.json"))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("layr=3", r"^unknown key 'layr' \(did you mean layer\?\); the configuration has model, dataset, "),
        ("model.devise=cpu", r"^unknown key 'model.devise' \(did you mean device\?\); model has "),
        ("selection=corelation", r"Could not find 'selection/corelation' \(did you mean correlation\?\)"),
        ("control=[rndom]", r"^control has no option 'rndom' \(did you mean random\?\); it has all_neurons, "),
        ("top_k=1,2", r"^top_k=1,2 has several values; "),
        ("top_k=[1,", r"^cannot read the override 'top_k=\[1,': "),
        ("dataset.file=none.conllu", r"^none\.conllu: no such file"),
    ],
    ids=str,
)
def test_mistakes_are_told_as_on_the_command_line(
    here: Path, place: Place, call: Command, override: str, told: str
) -> None:
    with pytest.raises(keyneurons.UsageError, match=told) as raised:
        keyneurons.run(*place.small, override)
    lines = traceback.format_exception(raised.value)
    assert "hydra.errors" not in "".join(lines)
    assert "During handling" not in "".join(lines)
    assert "direct cause" not in "".join(lines)
    assert call(*place.small, override).error == f"keyneurons: error: {raised.value}"


def test_a_run_is_loaded_by_id_or_folder_with_its_tables(here: Path, place: Place) -> None:
    text = place.treebank.read_text("utf-8")
    for tag, odd in {"NOUN": "NA", "VERB": "null", "DET": "1", "PRON": "nan"}.items():
        text = text.replace(f"\t{tag}\t", f"\t{odd}\t")
    Path("odd.conllu").write_text(text, "utf-8")
    given = [override for override in place.small if not override.startswith("dataset.file")]
    done = keyneurons.run(*given, "dataset.file=odd.conllu")
    by_id, by_folder = keyneurons.load_run(str(done.id)), keyneurons.load_run(done.folder)
    for name in ("id", "name", "status", "parent", "params", "metrics"):
        assert getattr(by_folder, name) == getattr(by_id, name), name
    assert by_folder.tags.items() <= by_id.tags.items()
    assert by_folder.config() == by_id.config()
    tags = ["1", "NA", "nan", "null"]
    assert done.overlap().index.tolist() == tags
    for run in (by_id, by_folder):
        shared = run.table("overlap_count.csv")
        assert (shared.index.tolist(), shared.columns.tolist()) == (tags, tags)
        assert shared.loc["NA", "NA"] == 3
        assert run.table("confusion.csv").columns.tolist() == tags
    with pytest.raises(ValueError, match="has no none.csv"):
        by_id.table("none.csv")
    with pytest.raises(keyneurons.UsageError, match=r"contains no finished run of a single method: run\.json"):
        keyneurons.load_run(here)


def test_a_folder_of_options_of_ones_own(here: Path, place: Place) -> None:
    folder = here / "my 'own' options" / "selection"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("defaults: [welch_t, _self_]\nmagnitude: true\n", encoding="utf-8")
    found = keyneurons.run(*place.small, "selection=mine", config_dir=folder.parent)
    assert found.config.selection.model_dump()["magnitude"] is True
    assert keyneurons.load_run(str(found.id)).tags["selection"] == "mine"
    with pytest.raises(ValueError, match="^config_dir=nowhere is not a folder$"):
        keyneurons.run(config_dir="nowhere")
