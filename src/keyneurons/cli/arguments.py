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
    return _at_least_zero(text, "a number of days, 0 or more")


def factors(text: str) -> tuple[float, ...]:
    """Numbers separated by commas.

    Raises:
        argparse.ArgumentTypeError: they are none.
    """
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers separated by commas, got {text!r}") from None


def positive(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def temperature(text: str) -> float:
    """A number of at least 0.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    return _at_least_zero(text, "a number of at least 0")


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


def _at_least_zero(text: str, legal: str) -> float:
    """A finite number that is not negative.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:  # also rejects NaN
        raise argparse.ArgumentTypeError(f"must be {legal}, got {text!r}")
    return number
