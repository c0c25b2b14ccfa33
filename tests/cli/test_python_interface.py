"""The Python interface: same configuration, result and store as on the command line."""

from __future__ import annotations

import json
import os
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
    with pytest.raises(ValueError, match=r"^top_k: should be greater than 0, got -5$"):
        keyneurons.run(*place.small, "top_k=-5")
    with pytest.raises(ValueError, match="^there are no runs: "):
        keyneurons.load_run("nowhere")
    with pytest.raises(ValueError, match="^layer must lie in"):
        keyneurons.run(*place.small, "layer=99")
    assert not list(here.glob("outputs/*/*/run.json"))


def test_a_folder_of_options_of_ones_own(here: Path, place: Place) -> None:
    folder = here / "my 'own' options" / "selection"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("defaults: [welch_t, _self_]\nmagnitude: true\n", encoding="utf-8")
    found = keyneurons.run(*place.small, "selection=mine", config_dir=folder.parent)
    assert found.config.selection.model_dump()["magnitude"] is True
    assert keyneurons.load_run(str(found.id)).tags["selection"] == "mine"
    with pytest.raises(ValueError, match="^config_dir=nowhere is not a folder$"):
        keyneurons.run(config_dir="nowhere")
