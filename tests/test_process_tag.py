"""Process tags: reliable on this machine, "unknown" for others, robust to any text."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyneurons.process_tag import alive, gone, process_tag, state

HOST = socket.gethostname()


def tag_of_another() -> tuple[subprocess.Popen[bytes], str]:
    code = (
        "import sys; from keyneurons.process_tag import process_tag; print(process_tag(), flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return process, process.stdout.readline().decode().strip()


def test_a_process_is_seen_to_live_and_to_end() -> None:
    process, tag = tag_of_another()
    try:
        assert state(tag) == "alive"
        assert alive(tag)
        assert not gone(tag)
    finally:
        process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # killed, but not yet reaped by its parent
    assert state(tag) == "gone"
    process.wait()
    assert state(tag) == "gone"
    assert gone(tag)
    assert not alive(tag)


def test_this_process_is_its_own() -> None:
    assert state(process_tag()) == "own"
    assert not alive(process_tag())
    assert not gone(process_tag())


def test_another_process_of_the_same_number_is_told_from_the_first() -> None:
    for number in (os.getpid(), os.getppid()):
        machine = process_tag().partition(" since ")[2].rpartition("/")[0]
        assert state(f"process {number} on {HOST} since {machine}/0-1") == "gone"


def test_of_another_machine_nothing_is_known() -> None:
    own = process_tag()
    for tag in (
        own.replace(f" on {HOST}", " on elsewhere"),
        own.replace(" since ", " since x"),
        "process 1 on elsewhere",
    ):
        assert state(tag) == "unknown"


def test_tags_of_before_are_read() -> None:
    for number, expected in ((os.getppid(), "alive"), (4194305, "unknown"), (os.getpid(), "own")):
        assert state(f"process {number} on {HOST}") == expected


TEXTS = st.one_of(st.text(), st.from_regex(r"process \S* on \S*( since \S*)?", fullmatch=True))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(TEXTS)
def test_any_text_is_only_unknown(text: str) -> None:
    assert HOST in text or state(text) == "unknown"


@pytest.mark.parametrize("number", ["-1", "0x1", "99999999999999999999", "1.5", "", "¹", "٣"])
def test_odd_numbers_are_unknown(number: str) -> None:
    assert state(f"process {number} on {HOST}") == "unknown"
