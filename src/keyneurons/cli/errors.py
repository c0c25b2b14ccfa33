"""Which errors are a user's, and how each is told in one line that names what is legal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from keyneurons.addresses import masked


def is_mistake(error: BaseException) -> bool:
    """Whether the message says all that a user needs, so that a traceback would only hide it."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return isinstance(error, ValueError | KeyError | OSError | HydraException | OmegaConfBaseException)


def one_line(error: BaseException, arguments: Sequence[str] = ()) -> str:
    """The message of an error in one line; an unknown key or option comes with the legal ones.

    Args:
        error: the error.
        arguments: the overrides of the command line.

    Returns:
        A line without its end.
    """
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if not text.strip() and error.__cause__ is not None:
        text = str(error.__cause__)
    text = re.split(r"Config search path|\[SQL: ", text)[0]  # of Hydra, of SQLAlchemy
    text = re.sub(r"\(raised as a result of Query-invoked autoflush[^)]*\)", "", text)
    text = masked(text)
    if unknown := re.match(r"Could not override '(?P<key>[^']+)'", text):
        return _unknown_key(unknown["key"], [a for a in arguments if not a.startswith(f"{unknown['key']}=")])
    if several := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(?P<text>.+?)'\s", text):
        return _several_values(several["text"])
    return re.sub(r"(\S{1000})\S+", r"\1...", " ".join(text.split()))


def _several_values(text: str) -> str:
    """What to write instead of several values where one is taken."""
    from keyneurons.config.overrides import options_of

    key, _, values = text.partition("=")
    other = ""
    if key == "selection" and "(" not in values:
        other = f"; to compare them on the same activations: keyneurons agreement selection=[{values}]"
    elif not options_of(key) and "(" not in values:
        other = f"; a list is written {key}=[{values}]"
    return f"{text} has several values; to do a run with each: keyneurons -m {text}{other}"


def _unknown_key(key: str, others: Sequence[str]) -> str:
    """Say which keys stand where an unknown one was put, by composing the rest of the command line."""
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf

    from keyneurons.config.compose import composed, composing

    parent = key.rpartition(".")[0]
    try:
        with composing():
            whole = composed([a for a in others if "=" in a and not a.startswith("-")])
    except HydraException:  # others may be a command's own
        return _unknown_key(key, []) if others else f"unknown key {key!r}"
    section = OmegaConf.select(whole, parent) if parent else whole
    if isinstance(section, str | int | float):
        return f"{key} cannot be set beside {parent}={section}: {parent} has keys of its own"
    if not isinstance(section, DictConfig):
        return f"unknown key {key!r}"
    return f"unknown key {key!r}; {parent or 'the configuration'} has {', '.join(map(str, section))}"
