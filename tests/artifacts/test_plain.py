"""JSON and YAML values survive a round trip; ambiguous values raise."""

from __future__ import annotations

import json
import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyneurons.artifacts.plain import read_json, read_yaml, write_yaml
from keyneurons.artifacts.scores import open_scores
from keyneurons.atomic_files import write_json, write_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["695e0514", "1e3", "0x1f", "0o17", "1_000", "12:30:45", "2026-11-27", "yes", "No", "~", "null", "NaN", ".inf", "=",
     "<<", "*a", "&a", "!!python/object:x", "${oc.env:HOME}", "- a", "a: b", "#", "'", '"', "\n", " a", "a ", "\u2028",
     "\x85", "\ufeff", "\x00", "\x7f", "\U0001f600"]
)  # fmt: skip
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALAR = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | FINITE | TEXT
PLAIN = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)


def same(one, other):
    """Equality with types: 1, 1.0 and true differ, and so do 0.0 and -0.0."""
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    signs = not isinstance(one, float) or math.copysign(1, one) == math.copysign(1, other)
    return type(one) is type(other) and one == other and signs


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(PLAIN)
def test_yaml_gives_back_what_was_written(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.yaml"
    write_text(path, write_yaml(value))
    assert same(read_yaml(path), value)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(PLAIN)
def test_json_gives_back_what_was_written(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert same(read_json(path), value)


def test_one_list_in_two_places_is_written_twice(tmp_path):
    shared = [1, 2]
    write_text(tmp_path / "a.yaml", write_yaml({"a": shared, "b": shared}))
    assert read_yaml(tmp_path / "a.yaml") == {"a": [1, 2], "b": [1, 2]}


BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(24)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BOMB, "alias"),
        ("a: 1\na: 2\n", "duplicate key 'a'"),
        ("a:\n  b: {c: 1, c: 2}\n", "duplicate key 'c'"),
        ("1: a\n", "the key 1 is not text"),
        ("no: a\n", "the key False is not text"),
        ("a: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("a:\n\t- b", "damaged"),
        ("a: [\n", "damaged"),
        ("a: 12", "the last line is incomplete"),
        ("\x00", "damaged"),
        ("[" * 2000, "damaged"),
    ],
)
def test_yaml_that_is_refused(tmp_path, text, told):
    path = tmp_path / "a.yaml"
    write_text(path, text)
    with pytest.raises(ValueError, match="damaged") as error:
        read_yaml(path)
    assert str(path) in str(error.value)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"a": 1, "a": 2}', "duplicate key 'a'"),
        (b'{"a": NaN}', "NaN is not a finite number"),
        (b"[Infinity]", "Infinity is not a finite number"),
        (b"[1e999]", "1e999 is too large"),
        (b"{", "damaged"),
        (b"", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b"9" * 10_000, "damaged"),
    ],
)
def test_json_that_is_refused(tmp_path, content, told):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged") as error:
        read_json(path)
    assert str(path) in str(error.value)
    assert told in str(error.value)


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", {"a": math.nan})
    assert not list(tmp_path.iterdir())
    assert json.dumps({"a": math.nan}) == '{"a": NaN}'  # the sanity twin: the library accepts NaN


@pytest.mark.parametrize("read", [read_json, read_yaml, open_scores])
def test_a_pipe_or_a_folder_is_refused(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")  # reading it would block
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "folder").mkdir()
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=f"^{path} is not a regular file$"):
            read(path)
