"""Store addresses: masking of secrets, and the paths of SQLite databases."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

SQLITE = "sqlite:///"
MASK = "***"
NO_SECRET = (
    "must not hold a password or a token, since every run records it; use MLFLOW_TRACKING_USERNAME, "
    "MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN in the environment, or ~/.pgpass for PostgreSQL (write an @ "
    "in a path as %40)"
)
IN_TEXT = re.compile(r"(?<![A-Za-z0-9+.-])(?!sqlite\b|file\b)[A-Za-z][A-Za-z0-9+.-]*://\S*")
CREDENTIAL = re.compile(
    r"(?<![\w.-])(?P<name>[\w.-]*(?:password|passwd|passphrase|passcode|pwd|token|secret|api[_-]?key|access[_-]?key"
    r"|credentials?|authorization|signature)[\w.-]*|pass|pw|auth|sig|key)=.*",
    re.IGNORECASE | re.DOTALL,
)
"""Matches an option of an address with a secret, and the rest of the address."""


def masked_address(address: str) -> str:
    """Mask passwords and tokens in an address, even if they contain unescaped characters.

    The user in ``http://user@host`` counts as a token, since servers accept tokens there; the user
    of a database does not. A password extends to the last ``@``; an ``@`` in a path after a ``:``
    must be written as ``%40``.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "", address
    if scheme.partition("+")[0] in {"sqlite", "file"}:
        return address
    info, at, host = rest.rpartition("@")
    if _options(info) != info:  # an option inside a password, or an @ inside an option
        return f"{scheme}{separator}{MASK}"
    user, colon, password = info.partition(":")
    if colon:
        return f"{scheme}{separator}{user if password else MASK}:{MASK}@{_options(host)}"
    token = at and "http" in scheme and not re.search(r"[/?#]", info)
    return f"{scheme}{separator}{MASK if token else info}{at}{_options(host)}"


def _options(rest: str) -> str:
    """Mask the secret options in an address after its scheme or ``@``."""
    if (mark := re.search(r"[?;#]", rest)) is None:
        return rest
    location, options = rest[: mark.end()], rest[mark.end() :]
    safe = CREDENTIAL.sub(rf"\g<name>={MASK}", options)
    return location + (MASK if safe == options and CREDENTIAL.search(unquote(options)) else safe)


def masked(text: str) -> str:
    """Mask the secrets of all addresses in a text."""
    return IN_TEXT.sub(lambda match: masked_address(match[0]), text)


def check_no_secrets(plain_config: Any) -> None:
    """Reject secrets in the addresses of a configuration, since runs record their configuration.

    Args:
        plain_config: Mappings, lists and plain values, including command-line overrides.

    Raises:
        ValueError: If an address contains a secret.
    """
    for key, text in _texts(plain_config, ""):
        name, value = _key_and_value(key, text)
        safe = masked_address(value) if name == "tracking.uri" else masked(value)
        if safe != value:
            raise ValueError(f"{name}: {NO_SECRET}, got {safe!r}")


def _key_and_value(key: str, text: str) -> tuple[str, str]:
    """Return the key and the value of an entry; an override is split into its own."""
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
    """Build the SQLAlchemy address of an SQLite database, with ``%`` and ``?`` escaped."""
    return SQLITE + str(path).replace("%", "%25").replace("?", "%3F")


def sqlite_path(address: str) -> Path:
    """Return the database path of an SQLite address."""
    return Path(unquote(address.removeprefix(SQLITE)))


def for_mlflow(address: str) -> str:
    """Convert an address to the form that MLflow opens correctly.

    For an SQLite path with escapes, the driver must be named; otherwise MLflow creates a folder
    with the escaped name.
    """
    return f"sqlite+pysqlite:///{address.removeprefix(SQLITE)}" if re.match(rf"{SQLITE}.*%", address, re.S) else address
