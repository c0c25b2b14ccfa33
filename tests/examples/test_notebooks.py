"""The notebooks run, their checks hold, and they are committed without outputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
TUTORIALS = (EXAMPLES.parent / "docs" / "tutorials.md").read_text("utf-8")
SHORT = ("first_run.ipynb",)
LESSON = "brain_lesions_and_language_models.ipynb"

EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=1800, kernel_name="python3").execute()
outputs = [each for cell in notebook.cells for each in cell.get("outputs", [])]
assert not [each.text for each in outputs if each.get("name") == "stderr" and "Warning" in each.text]
"""


def cells(name: str, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(EXAMPLES / name, 4).cells if cell.cell_type == kind]


def test_all_notebooks_are_there() -> None:
    assert NOTEBOOKS == [
        LESSON,
        "comparing_methods.ipynb",
        "first_run.ipynb",
        "lesions.ipynb",
        "your_own_treebank.ipynb",
    ]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_has_no_outputs_and_a_row_in_the_tutorials(name: str) -> None:
    nbformat.validate(nbformat.read(EXAMPLES / name, 4))
    for cell in cells(name, "code"):
        assert cell.outputs == []
        assert cell.execution_count is None
    assert f"| `{name}` |" in TUTORIALS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_works_in_a_temporary_folder_and_ends_with_checks(name: str) -> None:
    first, *_, last = cells(name, "code")
    assert "os.chdir(tempfile.mkdtemp())" in first.source
    assert last.source.count("assert ") >= 2


def test_every_exercise_of_the_lesson_has_a_hidden_solution() -> None:
    text = "\n".join(cell.source for cell in cells(LESSON, "markdown"))
    exercises = [part.partition(".**")[0] for part in text.split("**Exercise ")[1:]]
    assert exercises == [str(i) for i in range(1, 9)]
    for part in text.split("**Exercise ")[1:]:
        assert part.count("<details><summary>Solution</summary>\n\n") == part.count("\n</details>") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in NOTEBOOKS]
)
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    variables = {**os.environ, "TMPDIR": str(tmp_path)}
    # another process, since nbclient leaves an event loop, in which browser tests cannot run
    command = [sys.executable, "-c", EXECUTE, str(EXAMPLES / name)]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(tmp_path.glob("outputs"))  # all files went to the folder that the notebook made
    assert len(list(tmp_path.glob("*/outputs/*/*"))) >= 1
