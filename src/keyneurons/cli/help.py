"""Texts of ``--help`` and ``--version``, printed without slow imports such as Hydra."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from keyneurons.version import __version__

if TYPE_CHECKING:
    from keyneurons.config.reference import Group, Key, Reference

HEADER = "keyneurons: find and test the neurons of a language model that encode grammar"
FOOTER = """\
One run:        keyneurons selection=mutual_information layer=8 top_k=50
A sweep:        keyneurons -m selection=correlation,l1_probe top_k=10,50
Other commands: keyneurons {commands} (each has its own --help)
Completion:     eval "$(keyneurons --shell-completion install=bash)"
Hydra's flags:  keyneurons --hydra-help
"""
COLUMN = 34
"""Column where comments start."""


def help_or_version(arguments: Sequence[str], commands: Sequence[str]) -> str | None:
    """Return the help or the version if the command line requests it, else None.

    Args:
        arguments: Command-line arguments.
        commands: Names of the other commands.
    """
    if "--version" in arguments:
        return f"keyneurons {__version__}\n"
    if {"--help", "-h"} & set(arguments):
        from keyneurons.config.paths import conf_folder
        from keyneurons.config.reference import reference

        width = min(max(shutil.get_terminal_size().columns, 80), 120)
        lines = help_lines(reference(conf_folder()), width)
        return "\n".join([HEADER, "", *lines, FOOTER.format(commands=" | ".join(commands))])
    return None


def help_lines(contents: Reference, width: int) -> Iterator[str]:
    """Format the reference for a console.

    Args:
        contents: All sections and groups.
        width: Width of the console.

    Yields:
        The lines.
    """
    yield "Keys and defaults (set with key=value; ??? means no default)"
    for section in contents.sections:
        yield from ["", section.title, *(line for key in section.keys for line in _key(key, width))]
    yield from ["", "Groups and options (choose with group=option)"]
    for group in contents.groups:
        yield from ["", *_group(group, width)]
    yield ""


def _group(group: Group, width: int) -> Iterator[str]:
    yield f"{group.name} (default: {group.default})"
    for key in group.keys:
        yield from _key(key, width)
    for option in group.options:
        extends = f" (extends {', '.join(option.extends)})" if option.extends else ""
        yield from _row(f"  {option.name}", option.comment + extends, width)
        for key in option.keys:
            yield from _key(key, width, "    ")


def _key(key: Key, width: int, indent: str = "  ") -> Iterator[str]:
    legal = f" [{key.legal}]" if key.legal else ""
    yield from _row(
        f"{indent}{key.name}" + ("" if key.default is None else f"={key.default}"), key.comment + legal, width
    )


def _row(left: str, right: str, width: int) -> list[str]:
    if not right:
        return [left]
    lines = textwrap.wrap(
        right, width, initial_indent=" " * COLUMN, subsequent_indent=" " * COLUMN, break_long_words=False
    )
    return [left, *lines] if len(left) >= COLUMN - 1 else [left + lines[0][len(left) :], *lines[1:]]
