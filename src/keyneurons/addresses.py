"""Addresses of stores: what in them is a secret, and the paths of SQLite databases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

SQLITE = "sqlite:///"
MASK = "***"
NO_SECRET = (
    "must not hold a password or a token, which every run would keep: a server takes MLFLOW_TRACKING_USERNAME, "
    "MLFLOW_TRACKING_PASSWORD and MLFLOW_TRACKING_TOKEN from the environment, PostgreSQL ~/.pgpass (an @ that belongs "
    "to a path is written %40)"
)
IN_TEXT = re.compile(r"(?<![A-Za-z0-9+.-])(?!sqlite\b|file\b)[A-Za-z][A-Za-z0-9+.-]*://\S*")
CREDENTIAL = re.compile(
    r"(?<![\w.-])(?P<name>[\w.-]*(?:password|passwd|passphrase|passcode|pwd|token|secret|api[_-]?key|access[_-]?key"
    r"|credentials?|authorization|signature)[\w.-]*|pass|pw|auth|sig|key)=.*",
    re.IGNORECASE | re.DOTALL,
)
"""An option of an address that holds a secret, and all that follows."""


def masked_address(address: str) -> str:
    """An address without the password or the token in it, whatever characters they have unescaped.

    The user of ``http://user@host`` counts as a token, since servers take tokens there; a database's user does not. A
    password ends at the last ``@``: an ``@`` of a path, behind a ``:``, has to be written ``%40``.
    """
    scheme, there, rest = address.partition("://")
    if not there:
        scheme, rest = "", address
    if scheme.partition("+")[0] in {"sqlite", "file"}:
        return address
    info, at, host = rest.rpartition("@")
    if _options(info) != info:  # a password with an option in it, or an option with an @ in it
        return f"{scheme}{there}{MASK}"
    user, colon, password = info.partition(":")
    if colon:
        return f"{scheme}{there}{user if password else MASK}:{MASK}@{_options(host)}"
    token = at and "http" in scheme and not re.search(r"[/?#]", info)
    return f"{scheme}{there}{MASK if token else info}{at}{_options(host)}"


def _options(rest: str) -> str:
    """What follows the scheme or the ``@`` of an address, its secret options masked."""
    if (mark := re.search(r"[?;#]", rest)) is None:
        return rest
    place, options = rest[: mark.end()], rest[mark.end() :]
    shown = CREDENTIAL.sub(rf"\g<name>={MASK}", options)
    return place + (MASK if shown == options and CREDENTIAL.search(unquote(options)) else shown)


def masked(text: str) -> str:
    """A text without the secrets of the addresses in it."""
    return IN_TEXT.sub(lambda found: masked_address(found[0]), text)


def check_no_secrets(plain_config: Any) -> None:
    """Refuse a configuration with a secret in an address, under whatever key: runs keep their configuration.

    Args:
        plain_config: mappings, lists and plain values; overrides of a command line among them.

    Raises:
        ValueError: there is one.
    """
    for key, text in _texts(plain_config, ""):
        name, value = _told(key, text)
        shown = masked_address(value) if name == "tracking.uri" else masked(value)
        if shown != value:
            raise ValueError(f"{name}: {NO_SECRET}, got {shown!r}")


def _told(key: str, text: str) -> tuple[str, str]:
    """A key and its value; an override has its own."""
    if not key.startswith("hydra.overrides"):
        return key, text
    name, _, value = text.partition("=")
    return name.lstrip("+~"), value.strip("'\"")


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, key)


def sqlite_address(path: Path) -> str:
    """The address of an SQLite database: in SQLAlchemy's, ``%`` begins an escape and ``?`` the options."""
    return SQLITE + str(path).replace("%", "%25").replace("?", "%3F")


def sqlite_path(address: str) -> Path:
    """The database of such an address."""
    return Path(unquote(address.removeprefix(SQLITE)))


def for_mlflow(address: str) -> str:
    """The address under which MLflow opens a store.

    Where an SQLite path has escapes, MLflow would make a folder of the escaped name, unless the driver is named.
    """
    return f"sqlite+pysqlite:///{address.removeprefix(SQLITE)}" if re.match(rf"{SQLITE}.*%", address, re.S) else address
