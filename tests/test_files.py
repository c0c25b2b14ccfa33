"""A file appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from keyneurons.digests import file_digest, json_digest
from keyneurons.files import write_json, write_text


def test_what_is_written_is_read_and_folders_are_made(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"é": [1, None]})
    assert json.loads((tmp_path / "a" / "b.json").read_text(encoding="utf-8")) == {"é": [1, None]}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_text(tmp_path / "note", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "note", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("note", "old")]


def test_others_may_read_it(tmp_path):
    write_text(tmp_path / "note", "x")
    assert (tmp_path / "note").stat().st_mode & 0o777 == 0o644


def test_digests(tmp_path):
    (tmp_path / "note").write_bytes(b"abc" * 100_000)
    assert file_digest(tmp_path / "note") == hashlib.sha256(b"abc" * 100_000).hexdigest()
    assert json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1}) != json_digest({"a": 1, "b": 3})
