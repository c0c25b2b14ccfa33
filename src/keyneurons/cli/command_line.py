"""Parser of the command line of a run or a sweep: Hydra's flags and overrides, in any order."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

COMMANDS = (
    "plan", "fetch", "extract", "agreement", "compare", "inspect", "hypotheses", "claims", "edit", "steer", "explore",
    "publish", "pull", "treebanks", "cache", "log", "ui",
)  # fmt: skip
INFO_FLAGS = ("help", "hydra_help", "cfg", "info", "shell_completion", "experimental_rerun")
"""Flags of Hydra that start neither a run nor a sweep."""
RESUME = "resume="


@dataclass(frozen=True)
class CommandLine:
    """The parsed command line of a run or a sweep.

    ``resume`` is the sweep to resume, ``config_dir`` the folder of additional options, ``multirun``
    whether ``-m`` is present. ``runs`` is False if a flag such as ``--cfg`` replaces the run.
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
        """The arguments for Hydra; flags come first, since Hydra rejects overrides after them."""
        return [*self.flags, *self.overrides]


def parse(arguments: Sequence[str]) -> CommandLine:
    """Parse the command line of a run or a sweep.

    Args:
        arguments: flags and overrides, in any order.

    Returns:
        The parsed command line.

    Raises:
        ValueError: if an argument is neither a flag nor an override, or a mistyped command.
    """
    from hydra._internal.utils import get_args_parser

    from keyneurons.config.overrides import check_overrides

    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        options, unknown = parser.parse_known_intermixed_args(arguments)
    except argparse.ArgumentError as error:
        raise ValueError(f"{error} (see keyneurons --hydra-help)") from error
    if unknown:
        raise ValueError(f"unknown option {unknown[0]} (see keyneurons --hydra-help)")
    for text in options.overrides:
        _check_no_command(text)
    overrides = [text for text in options.overrides if not text.startswith(RESUME)]
    if not options.shell_completion:
        check_overrides(overrides)
    flags = list(arguments)
    for text in options.overrides:
        flags.remove(text)
    return CommandLine(
        flags=tuple(flags),
        overrides=tuple(overrides),
        resume=next((text.removeprefix(RESUME) for text in options.overrides if text.startswith(RESUME)), None),
        config_dir=Path(options.config_dir).absolute() if options.config_dir else None,
        config_name=options.config_name or "config",
        multirun=options.multirun,
        runs=not any(getattr(options, name) for name in INFO_FLAGS),
    )


def _check_no_command(word: str) -> None:
    """Reject a word that is not an override.

    Raises:
        ValueError: if it is a command after the first position, or an unknown word.
    """
    if word in COMMANDS:
        raise ValueError(f"{word} is a command and must come first: keyneurons {word} ...")
    if "=" not in word and not word.startswith("~"):
        near = get_close_matches(word, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{word[:80]!r} is neither a command ({', '.join(COMMANDS)}) nor an override key=value{hint}")
