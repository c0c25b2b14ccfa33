"""What two runs must share to be the same run, and what they must share to read the same activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from keyneurons.config.inputs import TextDataset
from keyneurons.config.schema import Component, Config
from keyneurons.data.stanza_tagging import StanzaModels
from keyneurons.digests import file_digest, json_digest

ELSEWHERE = {  # where, or how fast, a run is done; not what it finds
    "cache": None,
    "tracking": None,
    "activations": {"batch_tokens": None, "memory_mb": None, "devices": None, "num_nodes": None},
    "trainer": {"accelerator": None},
    "model": {"device": None, "device_map": None, "folder": None},  # its identity stands for what is in the folder
}

Content = Callable[[Path], str]
"""The digest of what is in a file or a folder."""


def content_digest(path: Path) -> str:
    """Digest of a file, or of the names and contents of all files in and under a folder.

    Args:
        path: where nothing is there, it stands for itself.
    """
    if path.is_file():
        return file_digest(path)
    if path.is_dir():
        return json_digest({str(file.relative_to(path)): file_digest(file) for file in _files_under(path)})
    return str(path)


def fingerprint(config: Config, model: str, content: Content = content_digest) -> str:
    """Digest of what a run's findings depend on: configuration, content of the files named in it, the model's identity.

    Every value of type ``Path`` counts by its content, and so does an argument of a component (selection, optimizer,
    trainer) that names a file which is there; where the files are does not count. The version of the code does not.
    """
    return json_digest({"config": _plain(config, ELSEWHERE, content), "model": model, "tagger": _tagger(config)})[:16]


def reading(config: Config, model: str, content: Content = content_digest) -> str:
    """Digest of what the activations of a run depend on, its site and its layers apart."""
    names = ["model", "dataset", "read_at", "pooling", "activations"]
    if hasattr(config.dataset, "fractions"):
        names.append("seed")  # which shares the sentences out
    parts = {name: getattr(config, name) for name in names}
    return json_digest({**_plain(parts, ELSEWHERE, content), "model": model, "tagger": _tagger(config)})


def _tagger(config: Config) -> Any:
    """What tags raw text, wherever Stanza keeps its models; None for text that is tagged."""
    dataset = config.dataset
    if not isinstance(dataset, TextDataset):
        return None
    folder = None if dataset.stanza_folder is None else Path(dataset.stanza_folder)
    return {"stanza": version("stanza"), **StanzaModels(dataset.language, folder, {}).facts()}


def _plain(value: Any, dropped: Mapping[str, Any], content: Content, *, argument: bool = False) -> Any:
    """A part of a configuration as JSON: files by their content; ``argument`` of a component, where files are text."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        named = {(fields[name].alias or name) if name in fields else name: inner for name, inner in value}
        return _plain(named, dropped, content, argument=isinstance(value, Component))
    if isinstance(value, Mapping):
        kept = {str(key): inner for key, inner in value.items() if dropped.get(str(key), dropped) is not None}
        return {key: _plain(inner, dropped.get(key) or {}, content, argument=argument) for key, inner in kept.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, {}, content, argument=argument) for inner in value]
    if isinstance(value, Path) or (argument and isinstance(value, str) and _names_a_file(value)):
        return content(Path(value).expanduser())
    return value


def _names_a_file(text: str) -> bool:
    path = Path(text)
    try:
        return (len(path.parts) > 1 or path.suffix != "") and path.expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, no such user
        return False


def _files_under(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """All files in and under a folder, links followed, but not into a folder that it lies in itself."""
    above |= {folder.resolve()}
    for entry in sorted(folder.iterdir()):
        if entry.is_file():
            yield entry
        elif entry.is_dir() and entry.resolve() not in above:
            yield from _files_under(entry, above)
