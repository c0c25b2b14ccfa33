"""MLflow's limits on names and values, and the encoding of tags in metric names."""

from __future__ import annotations

import posixpath
import re

LONGEST_NAME = 250
"""Maximum length of the name of a run, param, metric or tag in MLflow."""

LONGEST_DATASET = 500
"""Maximum length of the name of a dataset."""

LONGEST_PARAM = 6000
"""Maximum length of the value of a param."""

LONGEST_TEXT = 8000
"""Maximum length of the value of a run's tag, including its description."""

LONGEST_PREFIX = 64
"""Maximum length of the part before the tag in a metric name, such as ``lesion/.../p_value/``."""

# What MLflow rejects (other characters, slashes without a name beside them, names of dots only),
# and text that looks like an escape.
_REJECTED = re.compile(
    r"[^\w\-. /]|\A/|(?<=/)/|/\Z|(?<![^/])\.+(?![^/])|_(?=x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})", re.ASCII
)

_ACCEPTED = re.compile(r"[\w\-. :/]+")


def check_name(name: str) -> str:
    """Reject names of params, metrics or tags that MLflow does not accept.

    Args:
        name: The name.

    Returns:
        The name.

    Raises:
        ValueError: If the name is too long, contains illegal characters, or is not a normalised
            path (``..``, ``//``).
    """
    if len(name) > LONGEST_NAME:
        raise ValueError(f"the name {shortened(name)!r} is longer than {LONGEST_NAME} characters, MLflow's limit")
    if not _ACCEPTED.fullmatch(name) or name == "." or name.startswith(("/", "..")) or posixpath.normpath(name) != name:
        raise ValueError(
            f"MLflow does not accept the name {name!r}: use letters, digits, spaces and _-.:/, without ../ or a//b"
        )
    return name


def metric_name(key: str) -> str:
    """Encode a key as a metric name that MLflow accepts; different keys have different names.

    Other characters are escaped as in Python: ``_x2c`` is a comma; larger code points are written
    as ``_u540d`` or ``_U0001f600``.
    """
    return _REJECTED.sub(lambda match: "".join(map(_escape, match[0])), key)


def check_tag(tag: str) -> None:
    """Reject a tag that is too long for the names of its metrics.

    Args:
        tag: The tag.

    Raises:
        ValueError: If the tag is too long.
    """
    most, length = LONGEST_NAME - LONGEST_PREFIX, len(metric_name(f"tag/{tag}")) - len("tag/")
    if length > most:
        raise ValueError(
            f"the tag {shortened(tag)!r} is too long: in MLflow's metric names it takes {length} characters, "
            f"{most} at most; shorten it, or exclude it by listing the other tags in dataset.tags"
        )


def shortened(text: str, most: int = 40) -> str:
    """Shorten a text to at most ``most`` characters by omitting its middle."""
    half = (most - 3) // 2
    return text if len(text) <= most else f"{text[: most - 3 - half]}...{text[-half:]}"


def _escape(character: str) -> str:
    number = ord(character)
    return f"_x{number:02x}" if number < 0x100 else f"_u{number:04x}" if number < 0x10000 else f"_U{number:08x}"
