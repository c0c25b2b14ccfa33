"""Steps in names of checkpoints, and what the checkpoints of one training share."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import save_tiny_model

from keyneurons.artifacts.bound import Binding
from keyneurons.models.language_model import LanguageModel
from keyneurons.models.revisions import step_of, without_step
from keyneurons.models.sources import LocalModel

STEPS = {
    "step0": (0, "step*"),
    "step1000": (1000, "step*"),
    "checkpoint-500": (500, "checkpoint-*"),
    "run/step_00064": (64, "run/step_*"),
    "runs2/global_step12/checkpoint-3": (3, "runs2/global_step12/checkpoint-*"),
    "stage1-step300-tokens2B": (300, "stage1-step*-tokens2B"),
    "google/multiberts-seed_0-step_20k": (20_000, "google/multiberts-seed_0-step_*"),
    "main": (None, "main"),
    "EleutherAI/pythia-160m": (None, "EleutherAI/pythia-160m"),
    "footstep7b": (None, "footstep7b"),
    "sha256-123456": (None, "sha256-123456"),
}


@pytest.mark.parametrize("name", STEPS)
def test_the_step_in_a_name(name: str) -> None:
    assert (step_of(name), without_step(name)) == STEPS[name]


def bound(folder: Path, cache: Path, column: str = "upos") -> Binding:
    model = LanguageModel(LocalModel(folder, cache).fetch())
    width, seed = model.width("mlp"), model.random_weights
    own = (model.files.id, model.files.revision, model.architecture, model.tokenizer_digest)
    return Binding(*own, seed, "mlp", width, column)


def test_checkpoints_of_one_folder_are_one_lineage_of_different_revisions(tmp_path: Path) -> None:
    first, second = (save_tiny_model(tmp_path / "run" / f"step_{i}", layers=2, seed=i) for i in (0, 8))
    a, b = (bound(folder, tmp_path) for folder in (first, second))
    assert (a.model, b.model) == ("run/step_0", "run/step_8")
    assert a.revision != b.revision
    assert a.lineage == b.lineage
    assert str(a.lineage) == "run/step_*, mlp"
    assert a.architecture.startswith("llama num_hidden_layers=2 hidden_size=32 intermediate_size=48 ")


@pytest.mark.parametrize(
    ("name", "changes", "differing"),
    [
        ("run/step_8", {"layers": 3}, {"architecture"}),
        ("run/step_8", {"intermediate_size": 64}, {"architecture", "neurons_per_layer"}),
        ("other/step_8", {}, {"model"}),
        ("run/final", {}, {"model"}),
    ],
)
def test_what_is_no_revision_of_a_lineage(tmp_path: Path, name: str, changes: dict, differing: set[str]) -> None:
    a = bound(save_tiny_model(tmp_path / "run" / "step_0", layers=2), tmp_path).lineage
    b = bound(save_tiny_model(tmp_path / name, **{"layers": 2, "seed": 1, **changes}), tmp_path).lineage
    assert {field for field in vars(a) if getattr(a, field) != getattr(b, field)} == differing
