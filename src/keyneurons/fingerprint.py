"""What two runs must share to be the same run, and what they must share to read the same activations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyneurons.config import Config
from keyneurons.digests import file_digest, json_digest

ELSEWHERE = {  # where, or how fast, a run is done; not what it finds
    "cache": None,
    "tracking": None,
    "activations": {"batch_tokens": None, "memory_mb": None},
    "trainer": {"accelerator": None, "devices": None, "num_nodes": None},
    "model": {"device": None, "device_map": None, "folder": None},
}


def fingerprint(config: Config, revision: str) -> str:
    """Digest of what a run's findings depend on: configuration, the files that it names, revision of the model.

    The version of the code is not among it.
    """
    return json_digest({"config": _without(config.model_dump(by_alias=True), ELSEWHERE), "revision": revision})[:16]


def reading(config: Config, revision: str) -> str:
    """Digest of what the activations of a run depend on, its site and its layers apart."""
    names = ("model", "dataset", "read_at", "pooling", "activations")
    parts = {name: getattr(config, name) for name in names}
    plain = {name: part.model_dump() if hasattr(part, "model_dump") else part for name, part in parts.items()}
    return json_digest({**_without(plain, ELSEWHERE), "revision": revision})


def _without(value: Any, dropped: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        kept = {key: inner for key, inner in value.items() if dropped.get(key, dropped) is not None}
        return {str(key): _without(inner, dropped.get(key) or {}) for key, inner in kept.items()}
    if isinstance(value, list | tuple):
        return [_without(inner, {}) for inner in value]
    return _content(value) if isinstance(value, Path) else value


def _content(path: Path) -> str:
    """What is in a file or in the files of a folder; a path that leads nowhere stands for itself."""
    path = path.expanduser()
    if path.is_file():
        return file_digest(path)
    if path.is_dir():
        return json_digest({file.name: file_digest(file) for file in sorted(path.glob("*.conllu"))})
    return str(path)
