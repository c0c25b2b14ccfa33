"""Fingerprints: digests that identify equal runs, and runs with equal activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from keyneurons.config.schema import Component, Config
from keyneurons.data.stanza_tagging import StanzaModels
from keyneurons.digests import file_digest, json_digest

EXCLUDED = {  # keys that affect where or how fast a run is executed, not its results
    "cache": None,
    "tracking": None,
    "report": None,
    "activations": {"batch_tokens": None, "memory_mb": None, "devices": None, "num_nodes": None},
    "trainer": {"accelerator": None},
    "basis": {"file": None, "id": None, "revision": None},  # its digest covers them
    "model": {"device": None, "device_map": None, "folder": None},  # the model's identity covers the folder
}

Content = Callable[[Path], str]
"""Computes the digest of a file or a folder."""


def content_digest(path: Path) -> str:
    """Compute the digest of a file, or of the names and contents of all files under a folder.

    Args:
        path: The file or folder; the path itself is returned if it does not exist.
    """
    if path.is_file():
        return file_digest(path)
    if path.is_dir():
        return json_digest({str(file.relative_to(path)): file_digest(file) for file in _files_under(path)})
    return str(path)


def fingerprint(
    config: Config, model: str, content: Content = content_digest, given_sets: str | None = None, basis: str = ""
) -> str:
    """Compute the digest of all inputs that determine the results of a run.

    The inputs are the configuration, the content of the files named in it and the model's identity.
    A value of type ``Path``, or an argument of a component (selection, optimizer, trainer) that
    names an existing file, is replaced by the digest of its content, so the location of a file is
    irrelevant. The version of the code is not included.

    Args:
        config: The configuration.
        model: The model's identity.
        content: Computes the digest of a file or folder.
        given_sets: The digest of the neuron sets at ``selection.path``, which may be a run id.
        basis: The digest of the basis.
    """
    plain = _plain(config, EXCLUDED, content)
    if given_sets is not None:
        plain["selection"]["path"] = given_sets
    return json_digest({"config": plain, "model": model, "basis": basis, "tagger": _tagger(config)})[:16]


def activation_fingerprint(config: Config, model: str, content: Content = content_digest) -> str:
    """Compute the digest of all inputs that determine activations, except site and layers."""
    names = ["model", "dataset", "read_at", "pooling", "activations"]
    if hasattr(config.dataset, "fractions"):
        names.append("seed")  # determines the split
    parts = {name: getattr(config, name) for name in names}
    return json_digest({**_plain(parts, EXCLUDED, content), "model": model, "tagger": _tagger(config)})


def _tagger(config: Config) -> Any:
    """Describe the tagger of raw text, regardless of its location; None for tagged treebanks."""
    dataset = config.dataset
    if dataset.source != "text":
        return None
    folder = None if dataset.stanza_folder is None else Path(dataset.stanza_folder)
    return {"stanza": version("stanza"), **StanzaModels(dataset.language, folder, {}).facts()}


def _plain(value: Any, dropped: Mapping[str, Any], content: Content, *, argument: bool = False) -> Any:
    """Convert part of a configuration to JSON, with digests in place of files.

    ``argument`` marks arguments of a component, whose file names are plain strings.
    """
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        named = {(fields[name].alias or name) if name in fields else name: inner for name, inner in value}
        return _plain(named, dropped, content, argument=isinstance(value, Component))
    if isinstance(value, Mapping):
        kept = {str(key): inner for key, inner in value.items() if dropped.get(str(key), dropped) is not None}
        return {key: _plain(inner, dropped.get(key) or {}, content, argument=argument) for key, inner in kept.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, {}, content, argument=argument) for inner in value]
    if isinstance(value, Path) or (argument and isinstance(value, str) and _is_file_name(value)):
        return content(Path(value).expanduser())
    return value


def _is_file_name(text: str) -> bool:
    path = Path(text)
    try:
        return (len(path.parts) > 1 or path.suffix != "") and path.expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, no such user
        return False


def _files_under(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield all files under a folder, following links except those to a parent folder."""
    above |= {folder.resolve()}
    for entry in sorted(folder.iterdir()):
        if entry.is_file():
            yield entry
        elif entry.is_dir() and entry.resolve() not in above:
            yield from _files_under(entry, above)
