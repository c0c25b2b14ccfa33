"""Every recipe of CONTRIBUTING.md works on a copy: its files, its test and a small run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from models import save_tiny_model
from recipes import ROOT, copy_of_source, read_recipes
from user import QUICK, write_treebank

RECIPES = read_recipes()
TITLES = list(RECIPES)
# properties unique to the run of each recipe
METRICS = {
    "A control": "control/neighbours/test_accuracy",
    "A lesion mode": "lesion/mirror/change/NOUN",
    "A metric": "overlap/over_chance",
}
FILES = {"An artifact": "neurons_by_layer.json"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source with all recipes applied."""
    folder = copy_of_source(tmp_path_factory.mktemp("copy"))
    for recipe in RECIPES.values():
        recipe.follow(folder)
    return folder


@pytest.fixture(scope="module")
def python(copy: Path) -> Any:
    """Runs Python on the copy."""

    def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "KEYNEURONS_CACHE": str(copy / "cache")}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=copy,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def runs(copy: Path, python: Any) -> dict[str, Any]:
    """The result of each recipe's command on a tiny model and a small treebank."""
    treebank = write_treebank(copy / "tiny.conllu")
    llama, starcoder2 = (save_tiny_model(copy / kind, kind) for kind in ("llama", "starcoder2"))
    small = ["model=local", f"model.folder={llama}", "dataset=conllu", f"dataset.file={treebank}", "layer=2", "top_k=3"]
    small += ["trainer=cpu", *QUICK]
    commands = {}
    for title, recipe in RECIPES.items():
        own = [part.replace("STARCODER2", str(starcoder2)) for part in recipe.command]
        chosen = {part.split("=")[0] for part in own}
        commands[title] = [*(part for part in small if part.split("=")[0] not in chosen), *own]
    done = python(str(Path(__file__).with_name("following.py")), "results.json", given=json.dumps(commands))
    assert done.returncode == 0, done.stderr
    return json.loads((copy / "results.json").read_text())


@pytest.mark.parametrize("title", TITLES)
def test_a_recipe_touches_at_most_three_files_beside_its_test(title: str, tmp_path: Path) -> None:
    recipe = RECIPES[title]
    recipe.follow(copy_of_source(tmp_path))
    assert len(recipe.touched) <= 3
    assert len(recipe.tests) == 1


def test_the_listings_are_formatted_and_free_of_findings(copy: Path) -> None:
    changed = {path for recipe in RECIPES.values() for path in (*recipe.touched, *recipe.tests) if path.endswith(".py")}
    ruff = Path(sys.executable).with_name("ruff")
    for check in (["check", "-q"], ["format", "--check", "-q"]):
        done = subprocess.run([ruff, *check, *sorted(changed)], cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_tests_of_the_recipes_pass(python: Any) -> None:
    done = python("-m", "pytest", "-q", *(test for recipe in RECIPES.values() for test in recipe.tests))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("title", TITLES)
def test_the_command_of_a_recipe_runs(title: str, runs: dict[str, Any]) -> None:
    result = runs[title]
    assert "error" not in result, result["error"]
    assert result["metrics"]["probe/test_accuracy"] > 0
    if title in METRICS:
        assert METRICS[title] in result["metrics"]
    if title in FILES:
        assert FILES[title] in result["files"]


def test_every_kind_of_extension_has_a_recipe() -> None:
    kinds = ["selection method", "control", "site", "architecture family", "lesion mode", "metric", "artifact"]
    assert sorted(title.split(" ", 1)[1] for title in TITLES) == sorted(kinds)


def test_the_copy_is_what_runs(python: Any, copy: Path) -> None:
    done = python("-c", "import keyneurons; print(keyneurons.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(copy), ROOT
