"""The table in docs/architecture.md lists exactly the packages and top-level modules."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "keyneurons"
TEXT = (ROOT / "docs" / "architecture.md").read_text()
MODULE = re.compile(r"`([a-z_]+(?:/[a-z_]+)*)`")


def rows() -> list[str]:
    """The first column of the table of packages."""
    table = TEXT.split("| package | contents |")[1].split("\n\n")[0]
    return [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]


def test_the_table_is_the_top_of_the_tree() -> None:
    named = {name for cell in rows() for name in re.findall(r"`([a-z_]+)/?`", cell)}
    tree = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    tree |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert named == tree


def test_every_path_in_the_text_exists() -> None:
    prose = TEXT.split("## From a word to a metric")[1]
    paths = [path for path in re.findall(r"`([a-z_]+/[a-z_/]*)`", prose) if not path.startswith("probe/test_")]
    assert paths
    for path in paths:
        assert (PACKAGE / path).is_dir() or (PACKAGE / f"{path}.py").is_file(), path


def test_every_module_named_in_the_table_exists() -> None:
    """Each code word in a row is a module of its package, a package, or a name in that row."""
    table = TEXT.split("| package | contents |")[1].split("\n\n")[0]
    for line in table.splitlines():
        if not line.startswith("| `"):
            continue
        _, packages, contents, _ = line.split("|")
        folders = [PACKAGE / name for name in re.findall(r"`([a-z_]+)/`", packages)]
        for name in re.findall(r"`([a-z_]+)/?`", contents):
            if folders and name not in {"mlflow", "_target_"}:
                assert any((f / f"{name}.py").is_file() or (f / name).is_dir() for f in folders), f"{packages}: {name}"
