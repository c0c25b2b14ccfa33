"""The tag that names the process of a run, by which another process sees what became of it."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Literal

State = Literal["own", "alive", "gone", "unknown"]
TAG = re.compile(r"process (?P<number>[0-9]{1,9}) on (?P<host>\S+?)(?: since (?P<since>\S+))?")
PROC = Path("/proc")


def process_tag() -> str:
    """This process: its number, its host, and the machine and time of its start, since numbers are given again."""
    return f"process {os.getpid()} on {socket.gethostname()} since {_machine()}/{_start(os.getpid())}"


def state(tag: str) -> State:
    """What became of the process of a tag.

    Args:
        tag: of any run of a store, so its text may be anything.

    Returns:
        "unknown" where only another machine can tell, or nobody: older tags do not say of which container they are.
    """
    if (parts := TAG.fullmatch(tag)) is None or parts["host"] != socket.gethostname():
        return "unknown"
    number, since = int(parts["number"]), parts["since"]
    if since is None:
        return "own" if number == os.getpid() else "alive" if _start(number) is not None else "unknown"
    machine, _, start = since.rpartition("/")
    if machine != _machine():
        return "unknown"
    if start != _start(number):
        return "gone"
    return "own" if number == os.getpid() else "alive"


def alive(tag: str) -> bool:
    """Whether another process of this machine is still there; of another machine nobody can tell: it counts as gone."""
    return state(tag) == "alive"


def gone(tag: str) -> bool:
    """Whether it is certain that a process has ended."""
    return state(tag) == "gone"


def _machine() -> str:
    """This machine, and the part of it that sees the same processes (a container has its own)."""
    facts = [_read(Path("/etc/machine-id")) or "", _linked(PROC / "self" / "ns" / "pid")]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def _start(number: int) -> str | None:
    """When a process of this machine began, in a form that means something only here; None if it has ended."""
    if (PROC / "self" / "stat").is_file():
        if (stat := _read(PROC / str(number) / "stat")) is None:
            return None
        fields = stat.rpartition(")")[2].split()  # the name in front may have spaces
        boot = (_read(PROC / "sys" / "kernel" / "random" / "boot_id") or "")[:8]
        return None if fields[0] in {"Z", "X"} else f"{boot}-{fields[19]}"
    try:
        asked = ["ps", "-o", "lstart=", "-p", str(number)]
        told = subprocess.run(asked, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    except OSError:
        return None
    return "_".join(told.stdout.split()) or None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _linked(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
