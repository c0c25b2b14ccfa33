"""User-facing error messages: one line that names the legal values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from keyneurons.addresses import masked


def is_mistake(error: BaseException) -> bool:
    """Whether the error is a user's mistake, reported by its message without a traceback."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return isinstance(error, ValueError | KeyError | OSError | HydraException | OmegaConfBaseException)


def one_line(error: BaseException, arguments: Sequence[str] = ()) -> str:
    """The message of an error in one line; for an unknown key or option, with the legal ones.

    Args:
        error: the error.
        arguments: overrides of the command line.

    Returns:
        The line, without a newline.
    """
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if not text.strip() and error.__cause__ is not None:
        text = str(error.__cause__)
    text = re.split(r"Config search path|\[SQL: ", text)[0]  # of Hydra, of SQLAlchemy
    text = re.sub(r"\(raised as a result of Query-invoked autoflush[^)]*\)", "", text)
    text = masked(text)
    if unknown := re.match(r"Could not override '(?P<key>[^']+)'", text):
        return _unknown_key(unknown["key"], [a for a in arguments if not a.startswith(f"{unknown['key']}=")])
    if option := re.search(r"Could not load '(?P<group>[^']+)/(?P<name>[^/']+)'", text):
        return _unknown_option(option["group"], option["name"])
    text = re.sub(r"Could not find '([^'/]+)/([^']+)'", _with_hint, text)
    if several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(?P<text>.+?)'\s", text):
        return _several_values(several["text"])
    return re.sub(r"(\S{1000})\S+", r"\1...", " ".join(text.split()))


def _unknown_option(group: str, name: str) -> str:
    """The message for an unknown option in a list of options."""
    from keyneurons.config.overrides import options_of

    options = options_of(group)
    return f"{group} has no option {name!r}{did_you_mean(name, options)}; it has {', '.join(options)}"


def _with_hint(match: re.Match[str]) -> str:
    """Hydra's message for an unknown option, with the closest one."""
    from keyneurons.config.overrides import options_of

    return match[0] + did_you_mean(match[2], options_of(match[1]))


def did_you_mean(name: str, legal: Iterable[str]) -> str:
    """The hint at the legal name that is closest to another, or nothing."""
    near = get_close_matches(name, list(legal), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _several_values(text: str) -> str:
    """The message for several values of a key that takes one, with the correct syntax."""
    from keyneurons.config.overrides import options_of

    key, _, values = text.partition("=")
    other = ""
    if key == "selection" and "(" not in values:
        other = f"; to compare them on the same activations: keyneurons agreement selection=[{values}]"
    elif not options_of(key) and "(" not in values:
        other = f"; a list is written {key}=[{values}]"
    return f"{text} has several values; for one run with each: keyneurons -m {text}{other}"


def _unknown_key(key: str, others: Sequence[str]) -> str:
    """The message for an unknown key, with the keys of its section.

    The section is found by composing the other overrides.
    """
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf

    from keyneurons.config.compose import composed, composing

    parent = key.rpartition(".")[0]
    try:
        with composing():
            whole = composed([a for a in others if "=" in a and not a.startswith("-")])
    except HydraException:  # the other arguments may be options of a command
        return _unknown_key(key, []) if others else f"unknown key {key!r}"
    section = OmegaConf.select(whole, parent) if parent else whole
    if isinstance(section, str | int | float):
        return f"{key} cannot be set: {parent}={section} replaces the section {parent} by a single value"
    if not isinstance(section, DictConfig):
        return f"unknown key {key!r}"
    names = [str(name) for name in section]
    hint = did_you_mean(key.rpartition(".")[2], names)
    return f"unknown key {key!r}{hint}; {parent or 'the configuration'} has {', '.join(names)}"
