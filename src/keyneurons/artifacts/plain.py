"""JSON and YAML as plain values: one reader and one writer each, so that nothing changes its meaning on the way."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from keyneurons.atomic_files import check_regular

_LONGEST = 200  # characters of what a library says of a file


class Strict(BaseModel):
    """A part of a file: frozen, closed to unknown keys, and nothing is converted (``"2"``, ``2.0`` or true for 2)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


M = TypeVar("M", bound=BaseModel)


def checked(model: type[M], plain: Any, path: Path) -> M:
    """What a file holds, as a model of it.

    Args:
        model: the model.
        plain: what was read from the file.
        path: the file, for errors.

    Raises:
        ValueError: it holds something else; one line names the file, the first key that is wrong and how many are.
    """
    if not isinstance(plain, dict):
        raise ValueError(f"{path} is damaged: it holds no mapping")
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        first, *others = error.errors()
        told, more = first["msg"].removeprefix("Value error, "), f" (and {len(others)} more)" if others else ""
        if key := " ".join(".".join(map(str, first["loc"])).split()):
            told = f"{key}: {told}, got {_short(first['input'])}"
        raise ValueError(f"{path} does not fit this version: {told}{more}") from None


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: it is no JSON, or holds NaN, an infinity or a key twice; the file is named.
    """
    check_regular(path)
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {_short(error)}") from error


def write_yaml(value: Any) -> str:
    """A plain value as YAML; ``read_yaml`` gives it back, whatever text it holds."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)


def read_yaml(path: Path) -> Any:
    """Read a YAML file; nothing in it is resolved.

    Raises:
        ValueError: it is no YAML, was cut short, or holds an alias, a key twice, or one that is no text; the file is
            named.
    """
    check_regular(path)
    try:
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("it ends in the middle of a line")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader of ours)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {_short(error)}") from error


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Loader(yaml.SafeLoader):
    """Takes no aliases: a few lines of them stand for more values than there is memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("it holds an alias (*name)")
        return super().compose_node(parent, index)


def _construct_mapping(loader: _Loader, node: Any) -> dict[str, Any]:
    construct: Callable[..., Any] = loader.construct_object
    pairs = [(construct(key, deep=True), construct(value, deep=True)) for key, value in node.value]
    if other := [key for key, _ in pairs if not isinstance(key, str)]:
        raise ValueError(f"the key {other[0]!r} is no text")
    return _unique(pairs)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is too large a number")
    return value


def _short(value: Any) -> str:
    text = " ".join((str(value) if isinstance(value, Exception) else repr(value)).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
