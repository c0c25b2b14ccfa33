"""Describes the legal values of a key from the types of the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Mapping as MappingType
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from keyneurons.config.schema import Config

PLAIN: Mapping[Any, str] = {
    NoneType: "null",
    bool: "true | false",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
}
_BETWEEN = re.compile(r" \| (?![^(]*\))")
"""Between alternatives outside of parentheses."""


def legal_values(name: str) -> str:
    """Describe the legal values of a key, such as ``integer > 0 | null``.

    Args:
        name: The dotted key, as on the command line.

    Returns:
        The description; empty if the schema does not define the key's values.
    """
    models: list[type[BaseModel]] = [Config]
    fields: list[FieldInfo] = []
    for part in name.split("."):
        named = [{field.alias or name: field for name, field in model.model_fields.items()} for model in models]
        fields = [own[part] for own in named if part in own]
        models = [model for field in fields for model in _models(field.annotation)]
    return _joined(_words(field.annotation, field.metadata) for field in fields)


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections in an annotation."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in get_args(kind):
        yield from _models(inner)


def _words(kind: Any, metadata: Sequence[Any] = ()) -> str:
    inner = get_args(kind)
    match get_origin(kind):
        case origin if origin is Annotated:
            return _words(inner[0], inner[1:])
        case origin if origin is Literal:
            return " | ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in inner)
        case origin if origin in {Union, UnionType}:
            return _joined(map(_words, inner))
        case origin if origin is tuple and inner[-1] is Ellipsis:
            return f"list of {_grouped(_words(inner[0]))}"
        case origin if origin is tuple:
            return f"list of {len(inner)}: {_words(inner[0])}"
        case origin if origin is MappingType:
            return f"mapping of {_grouped(_words(inner[0]))} to {_grouped(_words(inner[1]))}"
    return _bounded(PLAIN.get(kind, ""), metadata)


def _bounded(word: str, metadata: Sequence[Any]) -> str:
    """Describe a number with its range."""
    flat = [bound for each in metadata for bound in (each.metadata if isinstance(each, FieldInfo) else [each])]
    limits = {name: getattr(bound, name) for bound in flat for name in ("gt", "ge", "lt", "le") if hasattr(bound, name)}
    below = next((f" {sign} {limits[name]}" for name, sign in (("lt", "<"), ("le", "<=")) if name in limits), "")
    above = next(((limits[name], sign) for name, sign in (("gt", "<"), ("ge", "<=")) if name in limits), None)
    if above is None or not below:
        mirrored = {"<": ">", "<=": ">="}
        return f"{word}{below}" if above is None else f"{word} {mirrored[above[1]]} {above[0]}"
    return f"{above[0]} {above[1]} {word}{below}"


def _joined(words: Any) -> str:
    """Alternatives without repetition; a word may have several, those in parentheses aside."""
    return " | ".join(dict.fromkeys(one for word in words if word for one in _BETWEEN.split(word)))


def _grouped(word: str) -> str:
    return f"({word})" if " | " in word else word
