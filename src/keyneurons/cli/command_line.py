"""The command line of a run or a sweep: flags of Hydra's, overrides wherever they stand, no command misspelt."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

COMMANDS = ("plan", "fetch", "extract", "agreement", "compare", "inspect", "cache", "log", "ui")
ANSWERED = ("help", "hydra_help", "cfg", "info", "shell_completion", "experimental_rerun")
"""Flags that Hydra answers without a run of ours."""
RESUME = "resume="


@dataclass(frozen=True)
class CommandLine:
    """A command line without a command: Hydra's flags, and the overrides wherever they stood.

    ``resume`` is the sweep to resume; ``config_dir`` the user's own folder of options; ``multirun`` whether ``-m``
    was given; ``runs`` is false where a flag such as ``--cfg`` asks for something else than a run or a sweep.
    """

    flags: tuple[str, ...]
    overrides: tuple[str, ...]
    resume: str | None
    config_dir: Path | None
    config_name: str
    multirun: bool
    runs: bool

    @property
    def arguments(self) -> list[str]:
        """The command line for Hydra, which takes no override behind a flag."""
        return [*self.flags, *self.overrides]


def parse(arguments: Sequence[str]) -> CommandLine:
    """A command line of a run or a sweep.

    Args:
        arguments: flags and overrides, in any order.

    Returns:
        Its parts.

    Raises:
        ValueError: something is neither, or a mistyped command.
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
    for text in known.overrides:
        _check_no_command(text)
    overrides = [text for text in known.overrides if not text.startswith(RESUME)]
    if not known.shell_completion:
        check_overrides(overrides)
    flags = list(arguments)
    for text in known.overrides:
        flags.remove(text)
    return CommandLine(
        flags=tuple(flags),
        overrides=tuple(overrides),
        resume=next((text.removeprefix(RESUME) for text in known.overrides if text.startswith(RESUME)), None),
        config_dir=Path(known.config_dir).absolute() if known.config_dir else None,
        config_name=known.config_name or "config",
        multirun=known.multirun,
        runs=not any(getattr(known, name) for name in ANSWERED),
    )


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
