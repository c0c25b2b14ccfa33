"""State belongs to objects: no function rebinds a name of a module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import keyneurons


def rebound(tree: ast.Module) -> Iterator[str]:
    """Names of modules that functions assign to."""
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import)]
    modules = {alias.asname or alias.name for node in imported for alias in node.names if from_here(node, alias)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
            yield from {node.value.id} & modules
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and is_vars(node.value):
            yield ast.unparse(node)


def from_here(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> bool:
    origin = node.module if isinstance(node, ast.ImportFrom) else alias.name
    return (origin or "").startswith("keyneurons")


def is_vars(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"vars", "globals"}


def test_no_function_rebinds_a_name_of_a_module() -> None:
    files = sorted(Path(keyneurons.__file__).parent.rglob("*.py"))
    found = {file.name: names for file in files if (names := list(rebound(ast.parse(file.read_text("utf-8")))))}
    assert len(files) > 100
    assert found == {}


def test_the_search_finds_every_way() -> None:
    code = """
from keyneurons.sweeps import session
KEPT = None
def change():
    global KEPT
    session.KEPT = 1
    vars(session)["KEPT"] = 2
"""
    assert sorted(rebound(ast.parse(code))) == ["KEPT", "session", "vars(session)['KEPT']"]
