"""Configuration and facts of a run without paths, process and store of its machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

PRIVATE_TAGS = ("process",)
STORE = {"uri": "sqlite:///mlruns/mlflow.db", "artifacts": "mlruns/artifacts"}
CACHE = "~/.cache/keyneurons"
"""Defaults of conf/, instead of the store and the cache of the machine."""
_PATH = re.compile(r"(/|~|\.\.?[/\\]|[A-Za-z]:[/\\])")


def public_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a run with the default store and cache, and paths cut to their name."""
    own = {name: value for name, value in config.items() if name not in {"tracking", "cache"}}
    public: dict[str, Any] = _without_paths(own)
    if public["dataset"]["source"] == "ud":
        public["dataset"] |= {"folder": None, "test_folder": None}  # downloads the release, whose digest is checked
    return {**public, "tracking": {**config["tracking"], **STORE}, "cache": CACHE}


def public_facts(facts: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of ``run.json`` without sweep, store and process of the run."""
    tags = {name: public_text(value, config) for name, value in facts["tags"].items() if name not in PRIVATE_TAGS}
    return {**facts, "name": public_text(facts["name"], config), "parent": None, "uri": None, "tags": tags}


def public_text(text: str, config: Mapping[str, Any]) -> str:
    """A text in which the paths of a configuration are cut to their name."""
    for path in sorted(_paths_in(config), key=len, reverse=True):
        text = text.replace(path, _name(path))
    return text


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_paths(inner) for inner in value]
    return _name(value) if isinstance(value, str) and _PATH.match(value) else value


def _paths_in(value: Any) -> set[str]:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    own = {value} if isinstance(value, str) and _PATH.match(value) and len(value) > 1 else set()
    return own.union(*map(_paths_in, inner))


def _name(path: str) -> str:
    return PurePath(path.replace("\\", "/")).name or "."
