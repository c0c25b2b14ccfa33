"""Strict readers and writers of JSON and YAML as plain values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from keyneurons.atomic_files import check_regular

_LONGEST = 200  # characters of a value or of a library's message in an error


class Strict(BaseModel):
    """A part of a file: frozen, without unknown keys, and without conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Versioned(Strict):
    """A file with its format number, which is checked before anything else."""

    supported: ClassVar[int]
    format: int

    @model_validator(mode="before")
    @classmethod
    def _of_this_format(cls, plain: Any) -> Any:
        if isinstance(plain, dict):
            check_format(plain.get("format", cls.supported), cls.supported)
        return plain


def check_format(version: object, supported: object) -> None:
    """Reject a file of another format.

    Raises:
        ValueError: the version is not the supported one.
    """
    if version != supported:
        raise ValueError(f"format {version!r} is not supported, only {supported}")


M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], plain: Any, path: Path) -> M:
    """Validate the contents of a file.

    Args:
        model: pydantic model of the contents.
        plain: contents of the file as plain values.
        path: the file, for errors.

    Returns:
        The validated contents.

    Raises:
        ValueError: the contents do not fit the model; one line names the file, the first invalid
            key and the number of further ones.
    """
    if not isinstance(plain, dict):
        raise ValueError(f"{path} is damaged: not a mapping")
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        first, *others = error.errors()
        message, more = first["msg"].removeprefix("Value error, "), f" (and {len(others)} more)" if others else ""
        if key := " ".join(".".join(map(str, first["loc"])).split()):
            message = f"{key}: {message}, got {_short(first['input'])}"
        raise ValueError(f"{path} does not fit this version: {message}{more}") from None


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: the file is not JSON, or has NaN, infinity or a duplicate key; the message names
            the file.
    """
    check_regular(path)
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {_short(error)}") from error


def write_yaml(value: Any) -> str:
    """A plain value as YAML text that ``read_yaml`` reads back unchanged."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)


def read_yaml(path: Path) -> Any:
    """Read a YAML file without resolving interpolations.

    Raises:
        ValueError: the file is not YAML, is truncated, or has an alias, a duplicate key or a key
            that is not text; the message names the file.
    """
    check_regular(path)
    try:
        text = path.read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("the last line is incomplete")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (derived from SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {_short(error)}") from error


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Loader(yaml.SafeLoader):
    """A safe loader that rejects aliases: nested aliases can expand beyond the memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("aliases (*name) are not supported")
        return super().compose_node(parent, index)


def _construct_mapping(loader: _Loader, node: Any) -> dict[str, Any]:
    construct: Callable[..., Any] = loader.construct_object
    pairs = [(construct(key, deep=True), construct(value, deep=True)) for key, value in node.value]
    if other := [key for key, _ in pairs if not isinstance(key, str)]:
        raise ValueError(f"the key {other[0]!r} is not text")
    return _unique(pairs)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"duplicate key {next(key for key in keys if keys.count(key) > 1)!r}")
    return mapping


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a finite number")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is too large")
    return value


def _short(value: Any) -> str:
    text = " ".join((str(value) if isinstance(value, Exception) else repr(value)).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
