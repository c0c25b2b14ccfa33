"""Checkpoints of one training: trained by the example, swept, compared, and given to each other."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from models import save_tiny_model
from reading_pages import Page
from user import QUICK, Command, Place, output_folders

from keyneurons.models.sources import HubModel

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_tiny_llama.py"
STEPS = (0, 2, 10)
SETTINGS = ["layer=1", "top_k=3", "trainer=cpu"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_tiny_llama", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trained(example: ModuleType, place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training") / "toy"
    size = example.Size(vocabulary=300, layers=2, width=32, neurons=48, sequence=32, sequences=2)
    made = example.train(place.treebank, folder, 10, 0, size)
    assert [path.name for path in made] == [f"step_{step:05d}" for step in (0, 1, 2, 4, 8, 10)]
    return folder


@pytest.fixture(scope="module", autouse=True)
def hub(trained: Path) -> Iterator[None]:
    """The checkpoints are revisions of a model on the hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HubModel, "_snapshot", lambda self, *_: trained / f"step_{int(self.revision[4:]):05d}")
        yield


@pytest.fixture(scope="module")
def swept(here: Command, place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment, its revisions in another order than that of their steps."""
    folder = tmp_path_factory.mktemp("swept")
    values = "hydra.sweeper.params={model.revision: 'step10,step0,step2'}"
    ended = here(folder, "experiment=checkpoints", *place.data, *QUICK, *SETTINGS, values)
    assert ended.status == 0, ended.err
    assert "Over training (EleutherAI/pythia-160m, mlp): accuracy " in ended.out
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_loss_falls_and_is_that_of_its_seed(example: ModuleType, place: Place, trained: Path, tmp_path) -> None:
    rows = rows_of(trained / "training.csv")
    assert [int(row["step"]) for row in rows] == [0, 1, 2, 4, 8, 10]
    assert float(rows[-1]["held_out_loss"]) < float(rows[0]["held_out_loss"]) - 0.1
    size = example.Size(vocabulary=300, layers=2, width=32, neurons=48, sequence=32, sequences=2)
    example.train(place.treebank, tmp_path / "toy", 1, 0, size)
    assert rows_of(tmp_path / "toy" / "training.csv")[0] == rows[0]


def test_a_training_without_text_or_place_is_refused(
    example: ModuleType, place: Place, trained: Path, tmp_path
) -> None:
    (tmp_path / "short.txt").write_text("one\ntwo\n")
    with pytest.raises(ValueError, match="has 2 sentences; training needs at least 20"):
        example.train(tmp_path / "short.txt", tmp_path / "new", 1, 0)
    with pytest.raises(ValueError, match="cannot be read"):
        example.train(tmp_path / "missing.txt", tmp_path / "new", 1, 0)
    with pytest.raises(ValueError, match="is not an empty folder"):
        example.train(place.treebank, trained, 1, 0)
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        example.train(place.treebank, tmp_path / "new", 0, 0)
    assert not (tmp_path / "new").exists()


def test_the_comparison_is_ordered_by_step(swept: Path) -> None:
    [folder] = (swept / "outputs").glob("*/*-sweep/comparison")
    [told] = json.loads((folder / "comparison.json").read_text("utf-8"))["trajectories"]
    assert [*map(int, told["steps"])] == [*STEPS]
    rows = rows_of(folder / "trajectory.csv")
    assert sorted({int(row["step"]) for row in rows}) == [*STEPS]
    files = {
        step: json.loads((folder.parent / str(i) / "key_neurons.json").read_text("utf-8"))["tags"]
        for i, step in enumerate((10, 0, 2))
    }
    for row in rows:
        own, last = ({n["neuron"] for n in files[step][row["tag"]]} for step in (int(row["step"]), 10))
        assert int(row["size"]) == len(own)
        if int(row["step"]) != 10:
            assert float(row["jaccard_with_last"]) == pytest.approx(len(own & last) / len(own | last))
    lives = rows_of(folder / "trajectory_neurons.csv")
    assert len(lives) == sum(len({n["neuron"] for s in STEPS for n in files[s][tag]}) for tag in files[0])
    page = Page((folder / "report.html").read_text("utf-8"))
    assert "Over training" in page.told
    assert (
        "Sets of several revisions of a model are compared with each other: 3 of EleutherAI/pythia-160m, mlp."
        in page.told
    )
    assert {"trajectory_1.png", "trajectory_tags_1.png"} <= {path.name for path in (folder / "figures").iterdir()}


def test_sets_of_one_step_are_probed_and_lesioned_in_another(call: Command, place: Place, swept: Path) -> None:
    first, last = (next(f for f in output_folders_of(swept) if f.name == name) for name in ("1", "0"))
    few = ["lesion=zero", "lesion.sets=2", "lesion.further_sets=0", "lesion.permutations=9", "lesion.bootstraps=2"]
    given = [f"lesion.neurons={first}", "selection=from_file", f"selection.path={first}", "lesion.sentences=4"]
    own = ["model=pythia_160m", "model.revision=step10", *place.data, *QUICK, *SETTINGS]
    ended = call(*own, *few, *given)
    assert ended.status == 0, ended.err
    assert "the sets are of revision step_00000 of the model; this run reads revision step_00010" in ended.out
    assert "the lesioned sets are of revision step_00000 of the model, not of the lesioned one" in ended.out
    [folder] = output_folders(Path.cwd())
    source = json.loads((folder / "key_neurons.json").read_text("utf-8"))["source"]
    assert source["revision"] == "step_00000"
    ended = call("compare", str(first), str(last))
    assert ended.status == 0, ended.err
    assert "The sets are of different revisions of one model: A step_00000, B step_00010." in ended.out


def output_folders_of(swept: Path) -> list[Path]:
    return sorted(path.parent for path in swept.glob("outputs/*/*-sweep/*/run.json"))


def test_a_revision_of_another_width_is_refused_in_one_line(
    call: Command, place: Place, swept: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = save_tiny_model(trained.parent / "step_00010", layers=2, intermediate_size=64)
    monkeypatch.setattr(HubModel, "_snapshot", lambda *_: wide)
    given = ["selection=from_file", f"selection.path={output_folders_of(swept)[0]}"]
    ended = call("model=pythia_160m", "model.revision=step10", *place.data, *SETTINGS, *given)
    assert ended.status == 1
    assert "is bound to architecture llama num_hidden_layers=2 hidden_size=32 intermediate_size=48" in ended.error


def test_revisions_of_the_experiment_are_changed_where_it_has_them(call: Command) -> None:
    ended = call("experiment=checkpoints", "model.revision=step0")
    assert "change its values with 'hydra.sweeper.params={model.revision: \"...\"}'" in ended.error
