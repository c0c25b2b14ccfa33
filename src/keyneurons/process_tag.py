"""The tag that identifies the process of a run, so that other processes can check its state."""

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
    """Identify this process by number, host, machine and start time, since numbers are reused."""
    return f"process {os.getpid()} on {socket.gethostname()} since {_machine()}/{_start(os.getpid())}"


def state(tag: str) -> State:
    """Check the state of the process that a tag identifies.

    Args:
        tag: The tag of a run; it may come from any store and have any text.

    Returns:
        The state; "unknown" if the process belongs to another machine or container, or the tag does
        not name them.
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
    """Whether another process of this machine is running; False for other machines."""
    return state(tag) == "alive"


def gone(tag: str) -> bool:
    """Whether a process has certainly ended."""
    return state(tag) == "gone"


def _machine() -> str:
    """Identify this machine and its process namespace, which differs between containers."""
    facts = [_read(Path("/etc/machine-id")) or "", _read_link(PROC / "self" / "ns" / "pid")]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def _start(number: int) -> str | None:
    """Return the start time of a process in a machine-specific form; None if it has ended."""
    if (PROC / "self" / "stat").is_file():
        if (stat := _read(PROC / str(number) / "stat")) is None:
            return None
        fields = stat.rpartition(")")[2].split()  # the process name before it may contain spaces
        boot = (_read(PROC / "sys" / "kernel" / "random" / "boot_id") or "")[:8]
        return None if fields[0] in {"Z", "X"} else f"{boot}-{fields[19]}"
    try:
        command = ["ps", "-o", "lstart=", "-p", str(number)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    except OSError:
        return None
    return "_".join(result.stdout.split()) or None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _read_link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
