"""The command line of a run or a sweep: flags of Hydra's, overrides wherever they stand, no command misspelt."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

COMMANDS = ("plan", "fetch", "extract", "agreement", "compare", "inspect", "cache", "log", "ui")


def split(arguments: Sequence[str]) -> tuple[list[str], list[str], Path | None]:
    """Hydra's flags on a command line, the overrides wherever they stand, and the user's own folder of options.

    Args:
        arguments: of a run or a sweep.

    Returns:
        The three of them.

    Raises:
        ValueError: something is none of these, or a mistyped command.
    """
    from hydra._internal.utils import get_args_parser

    from keyneurons.config.overrides import check_overrides

    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        known, unknown = parser.parse_known_intermixed_args(arguments)
    except argparse.ArgumentError as error:
        raise ValueError(f"{error} (see keyneurons --hydra-help)") from error
    if unknown:
        raise ValueError(f"unknown option {unknown[0]} (see keyneurons --hydra-help)")
    overrides: list[str] = known.overrides
    for override in overrides:
        _check_no_command(override)
    if not known.shell_completion:
        check_overrides([override for override in overrides if not override.startswith("resume=")])
    flags = list(arguments)
    for override in overrides:
        flags.remove(override)
    return flags, overrides, Path(known.config_dir) if known.config_dir else None


def _check_no_command(word: str) -> None:
    """Refuse a word that is no override.

    Raises:
        ValueError: it is a command in another place, or none.
    """
    if word in COMMANDS:
        raise ValueError(f"{word} is a command, so it comes first: keyneurons {word} ...")
    if "=" not in word and not word.startswith("~"):
        near = get_close_matches(word, COMMANDS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{word[:80]!r} is neither a command ({', '.join(COMMANDS)}) nor an override key=value{meant}")
