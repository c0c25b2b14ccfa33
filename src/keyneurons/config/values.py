"""What single values of a configuration may be: numbers that are no truth values, names, paths, layers, addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from keyneurons.addresses import SQLITE, sqlite_address, sqlite_path
from keyneurons.choices import SPLITS, Split


def _number(value: Any) -> Any:
    """A truth value is no number, though Python counts it as one.

    Raises:
        ValueError: it is a truth value.
    """
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


def _path(value: Any) -> Any:
    """An empty path would be this folder.

    Raises:
        ValueError: it is empty.
    """
    if value == "":
        raise ValueError("should be a path (. is this folder)")
    return value


Int = Annotated[int, BeforeValidator(_number)]
Float = Annotated[float, BeforeValidator(_number)]
PositiveInt = Annotated[Int, Field(gt=0)]
NonNegativeInt = Annotated[Int, Field(ge=0)]
PositiveFloat = Annotated[Float, Field(gt=0)]
NonNegativeFloat = Annotated[Float, Field(ge=0)]
Given = BeforeValidator(_path)


def _every_split(caps: Mapping[Split, int | None]) -> Mapping[Split, int | None]:
    if set(caps) != set(SPLITS):
        raise ValueError(f"give one value for each of {', '.join(SPLITS)}")
    return caps


Caps = Annotated[Mapping[Split, PositiveInt | None], AfterValidator(_every_split)]
Share = Annotated[Float, Field(gt=0, lt=1)]
Fractions = tuple[PositiveFloat, PositiveFloat, PositiveFloat]


def one_line(most: int) -> AfterValidator:
    """A name that can stand in a list: printable, not empty, not longer than MLflow keeps."""

    def check(name: str) -> str:
        if not name.strip() or not name.isprintable() or len(name) > most:
            raise ValueError(f"should be one line of 1 to {most} printable characters")
        return name

    return AfterValidator(check)


def quoted(value: Any) -> str:
    """A plain value as text on a command line: ``1`` as ``'1'``, but ``'...'`` where what was written is not known."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else "..."
    return "'" + text.replace("'", r"\'") + "'"


def text_only(tags: Any) -> Any:
    """YAML turns ``01``, ``1e3`` or ``null`` into other values, so what is no text might not be the tag that was meant.

    Raises:
        ValueError: a tag is no text.
    """
    plain = isinstance(tags, list | tuple) and all(isinstance(tag, str | int | float | None) for tag in tags)
    if plain and not all(isinstance(tag, str) for tag in tags):
        given = ",".join(map(quoted, tags))
        raise ValueError(f'tags are text, so quote them as they stand in the treebank: "dataset.tags=[{given}]"')
    return tags


def device_name(name: str) -> str:
    """The name of a device.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError("should be auto, cpu, cuda or cuda:NUMBER")
    return name


RunId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


def absolute_database(uri: str) -> str:
    """A relative SQLite path counts from the folder that the command was started in.

    Raises:
        ValueError: options follow the path.
    """
    if not uri.startswith(SQLITE):
        return uri
    if "?" in uri:
        raise ValueError("must end with the path of the database (a ? in it is written %3F, a % is written %25)")
    return sqlite_address(sqlite_path(uri).absolute())


def layer_value(value: Any) -> int | tuple[int, ...] | Literal["all"]:
    """A block number, several, or all.

    Raises:
        ValueError: it is something else.
    """
    numbers = value if isinstance(value, list | tuple) else [value]
    if value == "all":
        return "all"
    if not numbers or any(type(number) is not int for number in numbers):
        raise ValueError("must be a block number, a list of block numbers, or all")
    return value if isinstance(value, int) else tuple(numbers)


Layer = Annotated[int | tuple[int, ...] | Literal["all"], BeforeValidator(layer_value)]


def resolve_layers(layer: int | tuple[int, ...] | Literal["all"], n_layers: int) -> tuple[int, ...]:
    """The wanted blocks in ascending order, each once; negative numbers count from the end.

    Raises:
        ValueError: the model has no such layer.
    """
    if layer == "all":
        return tuple(range(n_layers))
    wanted = (layer,) if isinstance(layer, int) else layer
    if outside := [number for number in wanted if not -n_layers <= number < n_layers]:
        raise ValueError(f"layer must lie in {-n_layers}..{n_layers - 1} or be 'all', got {outside[0]}")
    return tuple(sorted({number % n_layers for number in wanted}))
