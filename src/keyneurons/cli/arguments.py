"""Types of command-line arguments, and output of a line."""

from __future__ import annotations

import argparse
import math
import sys


def days(text: str) -> float:
    """A number of days.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number >= 0:  # also rejects NaN
        raise argparse.ArgumentTypeError(f"must be a number of days, 0 or more, got {text!r}")
    return number


def port(text: str) -> int:
    """The number of a port.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 65535, got {text!r}")
    return int(text)


def say(message: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()
