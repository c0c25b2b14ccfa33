"""Digests of files, JSON values and texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keyneurons.records import Sentence


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def texts_digest(sentences: Iterable[Sentence]) -> str:
    """SHA-256 of texts and word spans, which determine activations; tags are ignored."""
    digest = hashlib.sha256()
    for sentence in sentences:
        spans = [(word.start, word.end) for word in sentence.words]
        digest.update(json.dumps([sentence.text, spans]).encode())
    return digest.hexdigest()
