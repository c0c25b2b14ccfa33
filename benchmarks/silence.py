"""Finds silent stretches of a command on a terminal.

Run with ``python benchmarks/silence.py keyneurons [argument ...]``.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import time

SILENCE = 2.5
"""Seconds without output that are reported; a stage is shown after two seconds."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def silent_stretches(command: list[str]) -> tuple[list[tuple[float, float, str]], float]:
    """Run a command in a pseudo-terminal.

    Returns the silent stretches (start, seconds, the last line before) and the total time.
    """
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
        os.execvp(command[0], command)
    stretches, last, shown, started = [], time.monotonic(), "", time.monotonic()
    while chunk := _read(terminal):
        now = time.monotonic()
        if now - last > SILENCE:
            stretches.append((last - started, now - last, shown))
        last = now
        lines = [line.strip() for line in re.split(r"[\r\n]+", _CONTROL.sub("", chunk)) if line.strip()]
        shown = lines[-1] if lines else shown
    total = time.monotonic() - started
    if time.monotonic() - last > SILENCE:
        stretches.append((last - started, time.monotonic() - last, shown))
    os.waitpid(child, 0)
    return stretches, total


def main(command: list[str]) -> None:
    """Print the silent stretches of a command."""
    stretches, total = silent_stretches(command)
    print(f"{total:.1f} s in all; {len(stretches)} silent stretches of more than {SILENCE} s")
    for start, seconds, shown in stretches:
        print(f"  {seconds:5.1f} s from {start:.1f} s, after {shown[:100]!r}")


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 65536).decode("utf-8", "replace")
    except OSError:  # the command has ended
        return ""


if __name__ == "__main__":
    main(sys.argv[1:])
