"""What MLflow takes as a name and a value; names of metrics in its characters, and the tags that fit into them."""

from __future__ import annotations

import posixpath
import re

LONGEST_NAME = 250
"""Characters of the name of a run, a param, a metric or a tag that MLflow keeps."""

LONGEST_DATASET = 500
"""Characters of the name of a dataset."""

LONGEST_PARAM = 6000
"""Characters of the value of a param."""

LONGEST_TEXT = 8000
"""Characters of the value of a tag of a run, its description among them."""

LONGEST_PREFIX = 64
"""Characters that stand before the tag in the longest name of a metric, such as ``lesion/.../p_value/``."""

# what MLflow refuses: other characters, slashes beside no name, names of dots only; and what would look escaped
_REFUSED = re.compile(
    r"[^\w\-. /]|\A/|(?<=/)/|/\Z|(?<![^/])\.+(?![^/])|_(?=x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})", re.ASCII
)

_TAKEN = re.compile(r"[\w\-. :/]+")


def check_name(name: str) -> str:
    """Refuse what MLflow does not take as the name of a param, a metric or a tag.

    Args:
        name: the name.

    Returns:
        The name.

    Raises:
        ValueError: it is too long, or holds other characters, or what a path would not keep (``..``, ``//``).
    """
    if len(name) > LONGEST_NAME:
        raise ValueError(f"the name {shortened(name)!r} is longer than the {LONGEST_NAME} characters that MLflow keeps")
    if not _TAKEN.fullmatch(name) or name == "." or name.startswith(("/", "..")) or posixpath.normpath(name) != name:
        raise ValueError(
            f"MLflow does not take the name {name!r}: letters, digits, spaces and _-.:/ only, not as in ../ or a//b"
        )
    return name


def metric_name(key: str) -> str:
    """A metric's name as MLflow takes it; different keys have different names.

    What MLflow refuses is written as in Python: ``_x2c`` is a comma, ``_u540d`` and ``_U0001f600`` are longer numbers.
    """
    return _REFUSED.sub(lambda found: "".join(map(_escaped, found[0])), key)


def check_tag(tag: str) -> None:
    """Refuse a tag that does not fit into the names of its metrics.

    Args:
        tag: the tag.

    Raises:
        ValueError: it is too long.
    """
    most, length = LONGEST_NAME - LONGEST_PREFIX, len(metric_name(f"tag/{tag}")) - len("tag/")
    if length > most:
        raise ValueError(
            f"the tag {shortened(tag)!r} is too long: in the names of MLflow's metrics it takes {length} characters, "
            f"{most} at most; shorten it, or leave it out by naming the others in dataset.tags"
        )


def shortened(text: str, most: int = 40) -> str:
    """A text with at most so many characters; of a longer one the middle is left out."""
    half = (most - 3) // 2
    return text if len(text) <= most else f"{text[: most - 3 - half]}...{text[-half:]}"


def _escaped(character: str) -> str:
    number = ord(character)
    return f"_x{number:02x}" if number < 0x100 else f"_u{number:04x}" if number < 0x10000 else f"_U{number:08x}"
